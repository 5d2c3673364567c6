"""Encodings that were paid for already, within a budget of bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

from napari_shaspec.model.shaspec import Encoding


class FeatureCache:
    """Keeps the most recently used encodings.

    Parameters
    ----------
    budget_bytes
        Never exceeded; an encoding larger than all of it is handed out and not kept.
    """

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self.used_bytes = 0
        self._encodings: OrderedDict[Hashable, Encoding] = OrderedDict()

    def get_or(self, key: Hashable, make: Callable[[], Encoding]) -> Encoding:
        """The encoding of that key, made only if it is not kept."""
        if key in self._encodings:
            self._encodings.move_to_end(key)
            return self._encodings[key]
        encoding = make()
        if encoding.nbytes <= self.budget_bytes:
            # Room is made before the encoding is kept, so that the budget holds at every moment.
            while self.used_bytes + encoding.nbytes > self.budget_bytes:
                _, dropped = self._encodings.popitem(last=False)
                self.used_bytes -= dropped.nbytes
            self._encodings[key] = encoding
            self.used_bytes += encoding.nbytes
        return encoding

    def __contains__(self, key: Hashable) -> bool:
        return key in self._encodings

    def __len__(self) -> int:
        return len(self._encodings)

    def clear(self) -> None:
        """Forget everything."""
        self._encodings.clear()
        self.used_bytes = 0
