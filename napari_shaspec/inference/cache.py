"""What was paid for already, such as encodings, within a budget of bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar


class HasBytes(Protocol):
    """What can be kept: an encoding, or a tensor."""

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""


Kept = TypeVar("Kept", bound=HasBytes)


class FeatureCache(Generic[Kept]):
    """Keeps what was used most recently.

    Parameters
    ----------
    budget_bytes
        Never exceeded; what is larger than all of it is handed out and not kept.
    """

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self.used_bytes = 0
        self._kept: OrderedDict[Hashable, Kept] = OrderedDict()

    def get_or(self, key: Hashable, make: Callable[[], Kept]) -> Kept:
        """What is kept under that key, made only if there is nothing."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        made = make()
        if made.nbytes <= self.budget_bytes:
            # Room is made before it is kept, so that the budget holds at every moment.
            while self.used_bytes + made.nbytes > self.budget_bytes:
                _, dropped = self._kept.popitem(last=False)
                self.used_bytes -= dropped.nbytes
            self._kept[key] = made
            self.used_bytes += made.nbytes
        return made

    def __contains__(self, key: Hashable) -> bool:
        return key in self._kept

    def __len__(self) -> int:
        return len(self._kept)

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self.used_bytes = 0
