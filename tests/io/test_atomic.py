"""Files that are there in full or not at all, and never in the place of another's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.io import atomic
from napari_shaspec.io.atomic import check_output, replacing, staged
from napari_shaspec.io.cases import find_cases, read_case
from napari_shaspec.model.checkpoint import load_checkpoint

TOO_LONG = "a" * 300
"""No file system has such a name; to look for it fails as to look where one may not."""


def no_links(place: object, path: object) -> None:
    raise PermissionError(1, "no hard links here")


@pytest.mark.parametrize("linked", [True, False])
def test_a_file_is_whole_and_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, linked: bool) -> None:
    if not linked:
        monkeypatch.setattr(os, "link", no_links)
    path = tmp_path / "a.txt"
    for overwrite, text in ((False, "one"), (True, "two")):
        with replacing(path, overwrite=overwrite) as place:
            place.write_text(text)
        assert path.read_text() == text
    assert list(tmp_path.iterdir()) == [path]


def test_who_comes_second_replaces_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    # Somebody comes between the last look and the move.
    monkeypatch.setattr(atomic, "_flush", lambda place: path.write_text("theirs"))
    with pytest.raises(ShaSpecError, match="no file at"), replacing(path, overwrite=False) as place:
        place.write_text("mine")
    assert path.read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [path]


def test_of_several_files_none_stays_where_one_place_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"

    def comes(place: Path) -> None:
        if place.name == second.name:
            second.write_text("theirs")

    monkeypatch.setattr(atomic, "_flush", comes)

    def write() -> None:
        with staged([first, second], overwrite=False) as places:
            for place in places.values():
                place.write_text("mine")

    with pytest.raises(ShaSpecError, match="no file at"):
        write()
    assert second.read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [second]


def test_what_may_not_be_looked_at_is_one_clear_error(tmp_path: Path) -> None:
    for look in (
        lambda: read_case(TOO_LONG),
        lambda: find_cases(TOO_LONG),
        lambda: load_checkpoint(Path(TOO_LONG)),
        lambda: check_output(tmp_path / TOO_LONG / "a.nii", (".nii",), overwrite=False),
    ):
        with pytest.raises(ShaSpecError, match="Check the path and permissions"):
            look()
