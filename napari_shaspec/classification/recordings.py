"""The sounds: recordings of the Free Spoken Digit Dataset, and the map of 20 x 20 coefficients made of each."""

from __future__ import annotations

import re
import struct
import warnings
from pathlib import Path

import librosa
import numpy as np
from numpy.typing import NDArray
from scipy.io import wavfile

from napari_shaspec.errors import ShaSpecError

SPEAKERS = ("jackson", "nicolas", "theo")
RATE_HZ = 8000
KEEP_EVERY = 3
SIDE = 20
"""Coefficients, and frames: a recording fills 1 to 12 of them, zeros the rest."""

Key = tuple[int, str, int]
"""Digit, speaker, index."""


def find_recordings(folder: Path) -> dict[Key, Path]:
    """Recordings of the three speakers anywhere below the folder, by digit, speaker and index.

    Raises
    ------
    ShaSpecError
        If there is none.
    """
    name = re.compile(rf"(\d)_({'|'.join(SPEAKERS)})_(\d+)\.wav")
    matches = ((name.fullmatch(path.name), path) for path in sorted(folder.rglob("*.wav")))
    found = {(int(match[1]), match[2], int(match[3])): path for match, path in matches if match}
    if not found:
        raise ShaSpecError(
            f"recordings such as 3_theo_12.wav in {folder}",
            "none",
            "Download the Free Spoken Digit Dataset (docs/classification.md says where it is) and put it there",
        )
    return found


def read_recording(path: Path) -> NDArray[np.float32]:
    """Samples between -1 and 1.

    Raises
    ------
    ShaSpecError
        If the file is not 16-bit mono sound of 8 kHz, as all of the dataset is.
    """
    try:
        with warnings.catch_warnings():
            # Chunks with remarks of the program that recorded it are no matter; a download that was cut off is.
            warnings.simplefilter("error", wavfile.WavFileWarning)
            warnings.filterwarnings("ignore", "Chunk .* not understood", wavfile.WavFileWarning)
            rate, samples = wavfile.read(path)
        if not samples.size:
            raise ValueError("no sound")
    except (OSError, ValueError, struct.error, UnboundLocalError, ZeroDivisionError, wavfile.WavFileWarning) as error:
        raise ShaSpecError(f"a WAV file at {path}", str(error), "Download the recording again") from error
    if rate != RATE_HZ or samples.ndim != 1 or samples.dtype != np.int16:
        raise ShaSpecError(
            f"16-bit mono sound of {RATE_HZ} Hz in {path.name}",
            f"{samples.dtype} {samples.shape} at {rate} Hz",
            "Use the recordings as they were downloaded",
        )
    scaled: NDArray[np.float32] = (samples / 32768).astype(np.float32)
    return scaled


def sound_map(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mel-frequency cepstral coefficients (20 coefficients, 20 frames), as in SMIL's preparation of the dataset.

    Every third sample is kept, and the rest is treated as if it still were at 8 kHz.
    """
    with warnings.catch_warnings():
        # A recording is shorter than the window of 2048 samples; centring pads it.
        warnings.filterwarnings("ignore", message="n_fft=2048 is too large")
        coefficients = librosa.feature.mfcc(y=samples[::KEEP_EVERY], sr=RATE_HZ, n_mfcc=SIDE)[:, :SIDE]
    return np.pad(coefficients, ((0, 0), (0, SIDE - coefficients.shape[1]))).astype(np.float32)
