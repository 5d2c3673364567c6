"""The one error a user may meet: what was expected, what was found, what to do."""

from __future__ import annotations

from pathlib import Path


class ShaSpecError(Exception):
    """Something a user can act on; everything else is a bug and stays one.

    Parameters
    ----------
    expected, found, action
        Three short clauses without a final full stop. ``expected`` and ``found`` complete
        "Expected ..., found ..."; ``action`` is a sentence that says what to do next.
    """

    def __init__(self, expected: str, found: str, action: str) -> None:
        self.expected = expected
        self.found = found
        self.action = action
        super().__init__(f"Expected {expected}, found {found}. {action}.")

    def __reduce__(self) -> tuple[type[ShaSpecError], tuple[str, str, str]]:
        """Survive the trip between processes (workers of a loader, of dask)."""
        return type(self), (self.expected, self.found, self.action)


def nothing_at(path: Path, expected: str) -> ShaSpecError:
    """There is no such file; of a link it is said that it leads nowhere, as those of git-annex do before a download."""
    if path.is_symlink():
        found = f"a link to {path.readlink()}, where nothing is"
        return ShaSpecError(f"{expected} at {path}", found, "Fetch what it leads to, or remove the link")
    found = "something that is no file" if path.exists() else "nothing"
    return ShaSpecError(f"{expected} at {path}", found, "Check the path")


def unreadable(path: Path, error: OSError) -> ShaSpecError:
    """The system would not give a file's bytes."""
    return ShaSpecError(f"to read {path}", error.strerror or str(error), "Check the path and permissions")
