"""Where the cases are predicted: a cluster of processes on this machine, or a scheduler that is there already."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import dask
from dask.system import CPU_COUNT
from distributed import Client, LocalCluster
from distributed.system import MEMORY_LIMIT

from napari_shaspec.errors import ShaSpecError

LOOPBACK = "127.0.0.1"
WORKER_BYTES = 3 * 2**30
"""What a worker is expected to need for a case of 240 x 240 x 155 voxels, and to spare (docs/scale.md)."""

CONNECT_SECONDS = 20

LOCAL = {
    # A case that kills its worker is not given to the next one.
    "distributed.scheduler.allowed-failures": 0,
    # A case waits here and not at a worker that may die of another one.
    "distributed.scheduler.work-stealing": False,
    # A worker has one case and nothing to put on the disk: it works until the system or the nanny ends it.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
}


def default_workers(device: str) -> int:
    """One for each core, as long as memory lasts; one alone where they would share a graphics card."""
    if device != "cpu":
        return 1
    return max(1, min(int(CPU_COUNT), int(MEMORY_LIMIT) // WORKER_BYTES))


def torch_threads(workers: int) -> int:
    """Of each worker, so that all together use the cores and no more."""
    return max(1, int(CPU_COUNT) // workers)


@contextmanager
def local_client(workers: int) -> Iterator[Client]:
    """A cluster of processes with one thread each, which listens on the loopback interface only and serves no pages."""
    with (
        dask.config.set(LOCAL),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            # By itself dask gives each worker a share by cores, which is too little where memory sets their number.
            memory_limit=int(MEMORY_LIMIT) // workers,
            host=LOOPBACK,
            # The address of the scheduler's health check; without one it would be port 8787, which may be taken.
            dashboard_address=f"{LOOPBACK}:0",
            scheduler_kwargs={"dashboard": False},
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@contextmanager
def remote_client(address: str) -> Iterator[Client]:
    """A scheduler that runs already, as in ``tcp://10.0.0.1:8786``.

    Raises
    ------
    ShaSpecError
        If nothing answers there.
    """
    try:
        client = Client(address, timeout=CONNECT_SECONDS)
    except (OSError, ValueError, TimeoutError) as error:
        raise ShaSpecError(
            f"a dask scheduler at {address}",
            str(error) or type(error).__name__,
            "Check the address (tcp://host:8786) and that the scheduler runs",
        ) from error
    with client:
        yield client
