"""Audiovision-MNIST: 1,500 pairs of an image and a recording of the same digit, and who hears what in training.

The pairing is fixed once. Which training pairs keep their sound, and which images choose the epoch, is drawn by seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_shaspec.classification.digits import exported_order, read_mnist
from napari_shaspec.classification.recordings import SPEAKERS, find_recordings, read_recording, sound_map
from napari_shaspec.errors import ShaSpecError

DIGITS = 10
IMAGE, SOUND = "image", "sound"
MODALITIES = (IMAGE, SOUND)
TEST_INDICES = range(15)
TRAINING_INDICES = range(15, 50)
PAIRS_OF_A_DIGIT = len(SPEAKERS) * len(TRAINING_INDICES)
VALIDATION_OF_A_DIGIT = 10
"""Of 105 training images; they choose the epoch, and nothing is fitted to them."""


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Images (N, 1, 28, 28), sounds (N, 1, 20, 20), digits (N,), and the speaker's place in `SPEAKERS` (N,)."""

    images: Tensor
    sounds: Tensor
    digits: Tensor
    speakers: Tensor


@dataclass(frozen=True, slots=True)
class AudiovisionMNIST:
    """1,050 training pairs and 450 test pairs, both ordered by digit, speaker and index of the recording."""

    training: Pairs
    test: Pairs


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Places in the training pairs.

    Parameters
    ----------
    paired
        Their sound is known.
    fitted
        All that training may see the image of, ``paired`` among them.
    validation
        They choose the epoch.
    """

    paired: NDArray[np.intp]
    fitted: NDArray[np.intp]
    validation: NDArray[np.intp]


def read_av_mnist(folder: Path) -> AudiovisionMNIST:
    """Read MNIST's files and the recordings below a folder, and pair them.

    Raises
    ------
    ShaSpecError
        If a file is missing or unreadable.
    """
    recordings = find_recordings(folder)
    wanted = [(digit, speaker, index) for digit in range(DIGITS) for speaker in SPEAKERS for index in range(50)]
    missing = [key for key in wanted if key not in recordings]
    if missing:
        digit, speaker, index = missing[0]
        raise ShaSpecError(
            f"50 recordings of each digit by {', '.join(SPEAKERS)}",
            f"no {digit}_{speaker}_{index}.wav ({len(missing)} missing)",
            "Download the Free Spoken Digit Dataset again",
        )
    maps = {key: sound_map(read_recording(recordings[key])) for key in wanted}

    def pairs(part: str, indices: range) -> Pairs:
        images, labels = read_mnist(folder, part)
        count = len(SPEAKERS) * len(indices)
        orders = [exported_order(labels, digit) for digit in range(DIGITS)]
        chosen = np.concatenate([order[:count] if part == "train" else order[-count:] for order in orders])
        keys = [(digit, speaker, index) for digit in range(DIGITS) for speaker in SPEAKERS for index in indices]
        return Pairs(
            images=_scaled(torch.from_numpy(images[chosen] / np.float32(255)))[:, None],
            sounds=_scaled(torch.from_numpy(np.stack([maps[key] for key in keys])))[:, None],
            digits=torch.tensor([digit for digit, _, _ in keys]),
            speakers=torch.tensor([SPEAKERS.index(speaker) for _, speaker, _ in keys]),
        )

    return AudiovisionMNIST(pairs("train", TRAINING_INDICES), pairs("t10k", TEST_INDICES))


def pairs_with_sound(rate: float) -> int:
    """How many training pairs of each digit keep their sound at a rate in percent: 5, 11, 16, 21 at 5, 10, 15, 20 %."""
    return int(np.floor(rate * PAIRS_OF_A_DIGIT / 100 + 0.5))


def draw_split(training: Pairs, rate: float, seed: int) -> Split:
    """Draw who chooses the epoch and who keeps the sound, digit by digit, the latter balanced over the speakers.

    The validation images depend on the seed only; and at a higher rate, the pairs of a lower one keep their sound.
    """
    draw = np.random.default_rng(seed)
    digits, speakers = training.digits.numpy(), training.speakers.numpy()
    paired, fitted, validation = [], [], []
    for digit in range(DIGITS):
        places = draw.permutation(np.flatnonzero(digits == digit))
        validation.append(places[:VALIDATION_OF_A_DIGIT])
        rest = places[VALIDATION_OF_A_DIGIT:]
        fitted.append(rest)
        # One of each speaker, in a new order each round: however many are taken, speakers differ by one at most.
        queues = [rest[speakers[rest] == speaker] for speaker in range(len(SPEAKERS))]
        rounds = min(len(queue) for queue in queues)
        turns = [
            queues[speaker][turn] for turn in range(rounds) for speaker in draw.permutation(len(SPEAKERS)).tolist()
        ]
        count = min(pairs_with_sound(rate), len(rest))
        taken = turns[:count]
        left = np.setdiff1d(rest, np.array(taken, dtype=np.intp))
        paired.append(np.concatenate([np.array(taken, dtype=np.intp), left[: count - len(taken)]]))
    return Split(*(np.sort(np.concatenate(parts)) for parts in (paired, fitted, validation)))


def _scaled(values: Tensor) -> Tensor:
    return (values - 0.5) / 0.5
