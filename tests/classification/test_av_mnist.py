"""Which image meets which recording, what a recording becomes, and who hears what."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.fft import dct
from scipy.io import wavfile

from napari_shaspec.classification.av_mnist import AudiovisionMNIST, draw_split, pairs_with_sound, read_av_mnist
from napari_shaspec.classification.digits import exported_order, read_mnist
from napari_shaspec.errors import ShaSpecError


def mel_filters(sides: int, count: int, rate: float) -> np.ndarray:
    """Slaney's triangles: linear to 1 kHz, logarithmic above, each of area 1; by hand."""

    def hertz(mel: np.ndarray) -> np.ndarray:
        return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp(np.log(6.4) / 27 * (mel - 15)))

    top = 15 + np.log(rate / 2 / 1000) / (np.log(6.4) / 27)
    corners = hertz(np.linspace(0, top, count + 2))
    bins = np.linspace(0, rate / 2, sides)
    filters = np.zeros((count, sides))
    for index in range(count):
        low, middle, high = corners[index : index + 3]
        rising, falling = (bins - low) / (middle - low), (high - bins) / (high - middle)
        filters[index] = np.maximum(0, np.minimum(rising, falling)) * 2 / (high - low)
    return filters


def cepstrum_by_hand(samples: np.ndarray) -> np.ndarray:
    kept = np.pad(samples[::3].astype(np.float64), 1024)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(2048) / 2048)
    frames = [kept[start : start + 2048] * window for start in range(0, len(kept) - 2047, 512)]
    power = np.abs(np.fft.rfft(np.array(frames), axis=1)) ** 2
    decibels = 10 * np.log10(np.maximum(1e-10, mel_filters(1025, 128, 8000) @ power.T))
    decibels = np.maximum(decibels, decibels.max() - 80)
    return dct(decibels, axis=0, norm="ortho")[:20]


def check_against_hand(samples: np.ndarray) -> None:
    from napari_shaspec.classification.recordings import sound_map

    found, expected = sound_map(samples), cepstrum_by_hand(samples)
    filled = expected.shape[1]
    assert found.shape == (20, 20)
    assert 1 <= filled < 20
    assert not found[:, filled:].any()
    np.testing.assert_allclose(found[:, :filled], expected, rtol=1e-4, atol=2e-3)


def test_a_sound_map_equals_one_computed_by_hand() -> None:
    pytest.importorskip("librosa")
    seconds = np.arange(6000) / 8000
    check_against_hand((0.4 * np.sin(2 * np.pi * (300 + 400 * seconds) * seconds)).astype(np.float32))


def test_a_real_sound_map_equals_one_computed_by_hand(avmnist_folder: Path) -> None:
    pytest.importorskip("librosa")
    from napari_shaspec.classification.recordings import find_recordings, read_recording

    recordings = find_recordings(avmnist_folder)
    for key in ((0, "jackson", 0), (7, "nicolas", 33), (3, "theo", 12)):
        check_against_hand(read_recording(recordings[key]))


def test_a_long_recording_is_cut_to_twenty_frames() -> None:
    pytest.importorskip("librosa")
    from napari_shaspec.classification.recordings import sound_map

    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 3 * 512 * 40).astype(np.float32)
    found = sound_map(samples)
    assert found.shape == (20, 20)
    assert found[0].all()


def test_real_pairs_are_those_of_the_paper(real: AudiovisionMNIST, avmnist_folder: Path) -> None:
    from napari_shaspec.classification.recordings import find_recordings, read_recording, sound_map

    for pairs, of_a_digit in ((real.training, 105), (real.test, 45)):
        count = 10 * of_a_digit
        assert pairs.images.shape == (count, 1, 28, 28)
        assert pairs.sounds.shape == (count, 1, 20, 20)
        assert pairs.digits.tolist() == [digit for digit in range(10) for _ in range(of_a_digit)]
        assert pairs.speakers[:of_a_digit].tolist() == [speaker for speaker in range(3) for _ in range(of_a_digit // 3)]
        assert (pairs.images.min(), pairs.images.max()) == (-1, 1)
    # The padding is scaled, too: (0 - 0.5) / 0.5.
    assert real.training.sounds[0, 0, 0, -1] == -1
    # The 40th pair of digit 2 in training: nicolas' fifth recording after the 15 of the test, and the 40th image.
    images, labels = read_mnist(avmnist_folder, "train")
    place = sorted(map(str, np.flatnonzero(labels == 2)))[39]
    expected = torch.from_numpy(images[int(place)] / np.float32(255)) * 2 - 1
    torch.testing.assert_close(real.training.images[2 * 105 + 39, 0], expected)
    sound = sound_map(read_recording(find_recordings(avmnist_folder)[2, "nicolas", 19]))
    torch.testing.assert_close(real.training.sounds[2 * 105 + 39, 0], torch.from_numpy(sound) * 2 - 1)
    # The last test pair of digit 9: the last image sorted as text, theo's recording 14.
    images, labels = read_mnist(avmnist_folder, "t10k")
    place = max(map(str, np.flatnonzero(labels == 9)))
    expected = torch.from_numpy(images[int(place)] / np.float32(255)) * 2 - 1
    torch.testing.assert_close(real.test.images[-1, 0], expected)


def test_images_are_ordered_as_files_are() -> None:
    labels = np.zeros(1001, np.uint8)
    labels[[3, 20, 100]] = 1
    assert exported_order(labels, 1).tolist() == [100, 20, 3]


def test_shares_of_sound() -> None:
    assert [pairs_with_sound(rate) for rate in (5, 10, 15, 20)] == [5, 11, 16, 21]


@pytest.mark.parametrize("rate", [5, 10, 15, 20])
def test_a_split_is_balanced_and_holds_nothing_twice(made_up: AudiovisionMNIST, rate: float) -> None:
    training = made_up.training
    split = draw_split(training, rate, seed=4)
    assert set(split.paired) <= set(split.fitted)
    assert sorted([*split.fitted, *split.validation]) == list(range(1050))
    for digit in range(10):
        paired = split.paired[training.digits.numpy()[split.paired] == digit]
        assert len(paired) == pairs_with_sound(rate)
        speakers = np.bincount(training.speakers.numpy()[paired], minlength=3)
        assert speakers.max() - speakers.min() <= 1
        assert (training.digits.numpy()[split.validation] == digit).sum() == 10


def test_a_split_depends_on_its_seed_and_grows_with_the_share(made_up: AudiovisionMNIST) -> None:
    first, again, other = (draw_split(made_up.training, 5, seed) for seed in (0, 0, 1))
    assert (first.paired == again.paired).all()
    assert set(first.paired) != set(other.paired)
    more = draw_split(made_up.training, 20, 0)
    assert (more.validation == first.validation).all()
    assert set(first.paired) < set(more.paired)


def idx(shape: tuple[int, ...], magic: int, values: np.ndarray) -> bytes:
    return struct.pack(f">{len(shape) + 1}I", magic, *shape) + values.astype(np.uint8).tobytes()


def test_mnist_is_read_compressed_and_not(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28))
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "train-images-idx3-ubyte").mkdir()  # as in some archives
    (tmp_path / "raw" / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx((3, 28, 28), 2051, images)))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx((3,), 2049, np.array([5, 0, 4])))
    found, labels = read_mnist(tmp_path, "train")
    assert (found == images).all()
    assert labels.tolist() == [5, 0, 4]


@pytest.mark.parametrize("content", [b"", b"\x00\x00\x08\x02" + bytes(12), idx((9,), 2049, np.array([1]))])
def test_damaged_mnist_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ShaSpecError, match="Download MNIST"):
        read_mnist(tmp_path, "train")
    (tmp_path / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(ShaSpecError, match="Download the file again"):
        read_mnist(tmp_path, "train")
    packed = bytearray(gzip.compress(idx((2, 28, 28), 2051, np.arange(2 * 28 * 28))))
    packed[12:16] = b"\xff\xff\xff\xff"  # within the stream, behind its header
    (tmp_path / "train-images-idx3-ubyte").unlink()
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(packed)
    with pytest.raises(ShaSpecError, match="Download the file again"):
        read_mnist(tmp_path, "train")


def test_missing_and_foreign_recordings_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("librosa")
    from napari_shaspec.classification.recordings import read_recording

    with pytest.raises(ShaSpecError, match="Free Spoken Digit Dataset"):
        read_av_mnist(tmp_path)
    wavfile.write(tmp_path / "0_theo_1.wav", 16000, np.zeros(100, np.int16))
    with pytest.raises(ShaSpecError, match=r"no 0_jackson_0\.wav \(1499 missing\)"):
        read_av_mnist(tmp_path)
    with pytest.raises(ShaSpecError, match="at 16000 Hz"):
        read_recording(tmp_path / "0_theo_1.wav")
    wavfile.write(tmp_path / "whole.wav", 8000, np.arange(3000, dtype=np.int16))
    whole = (tmp_path / "whole.wav").read_bytes()
    assert len(read_recording(tmp_path / "whole.wav")) == 3000
    remarks = b"LIST" + (4).to_bytes(4, "little") + b"note"
    (tmp_path / "whole.wav").write_bytes(whole + remarks)
    assert len(read_recording(tmp_path / "whole.wav")) == 3000
    for damaged in (b"RIFF", whole[: len(whole) // 2], whole[:36], whole[:44], whole[:22] + b"\0\0" + whole[24:]):
        (tmp_path / "no.wav").write_bytes(damaged)
        with pytest.raises(ShaSpecError, match="a WAV file"):
            read_recording(tmp_path / "no.wav")
