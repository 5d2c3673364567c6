"""The cache of encodings."""

from __future__ import annotations

import numpy as np
import torch

from napari_shaspec.inference.cache import FeatureCache
from napari_shaspec.model.shaspec import Encoding


def encoding(floats: int) -> Encoding:
    """One of ``4 * floats`` bytes."""
    return Encoding((torch.zeros(1),), torch.zeros(1), torch.zeros(1), (torch.zeros(floats - 3),))


def test_15_the_cache_never_exceeds_its_budget() -> None:
    random = np.random.default_rng(1)
    cache = FeatureCache(4000)
    for _ in range(300):
        size = int(random.integers(4, 500))
        cache.get_or(int(random.integers(40)), lambda size=size: encoding(size))
        assert cache.used_bytes <= 4000
    assert len(cache) > 1


def test_the_least_recently_used_goes_first() -> None:
    cache = FeatureCache(3 * 40)
    for key in "abc":
        cache.get_or(key, lambda: encoding(10))
    cache.get_or("a", lambda: encoding(10))
    cache.get_or("d", lambda: encoding(10))
    assert [key for key in "abcd" if key in cache] == ["a", "c", "d"]


def test_what_is_too_large_is_handed_out_and_not_kept() -> None:
    cache = FeatureCache(39)
    assert cache.get_or("a", lambda: encoding(10)).nbytes == 40
    assert len(cache) == 0


def test_clear() -> None:
    cache = FeatureCache(1000)
    cache.get_or("a", lambda: encoding(10))
    cache.clear()
    assert (len(cache), cache.used_bytes) == (0, 0)
