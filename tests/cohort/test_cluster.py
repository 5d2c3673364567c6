"""How a machine is shared."""

from __future__ import annotations

import pytest

from napari_shaspec.cohort import cluster

GIB = 2**30


@pytest.mark.parametrize(
    ("cores", "gib", "device", "workers"),
    [(2, 16, "cpu", 2), (16, 16, "cpu", 5), (4, 1, "cpu", 1), (16, 64, "cuda", 1)],
)
def test_workers_by_cores_and_memory(
    cores: int, gib: int, device: str, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "CPU_COUNT", cores)
    monkeypatch.setattr(cluster, "MEMORY_LIMIT", gib * GIB)
    assert cluster.default_workers(device) == workers


@pytest.mark.parametrize("cores", [1, 2, 3, 16])
def test_threads_of_all_workers_are_as_many_as_cores_at_most(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "CPU_COUNT", cores)
    for workers in range(1, cores + 1):
        assert cores - workers < workers * cluster.torch_threads(workers) <= cores
