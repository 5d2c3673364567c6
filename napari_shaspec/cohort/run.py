"""One case after the other to whichever worker is free, and a row for each, whatever becomes of it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from distributed import CancelledError, Client, Future, KilledWorker, wait
from distributed.client import FIRST_COMPLETED
from distributed.core import Status

from napari_shaspec.cohort.predictor import PLUGIN, Job, Predictor, predict_here
from napari_shaspec.cohort.table import CohortTable, Row, labels_name
from napari_shaspec.errors import ShaSpecError
from napari_shaspec.io.cases import CaseFiles

WORKERS_SECONDS = 120
"""A worker that died is started again within seconds, and a queue may take longer to give out the first."""

LOOK_SECONDS = 5
"""How often workers are counted while all of them work: some may have come, or gone."""

DIED = "The worker process died: it crashed, ran out of memory, or was killed. Run again to try the case once more."


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a cohort is.

    Parameters
    ----------
    done, total
        Cases of this run.
    failed
        Of those done.
    seconds_left
        As long as the cases so far took, for each of the others.
    """

    done: int
    total: int
    failed: int
    seconds_left: float


def check_apart(cases: Sequence[CaseFiles], out: Path, table: str) -> None:
    """Label maps must not land where they would pass for, or replace, those of an expert.

    Parameters
    ----------
    table
        Name of the file that an earlier run has left in the folder; its label maps are the program's own.

    Raises
    ------
    ShaSpecError
        If a case lies in the folder itself, or a label map of a case that no earlier run has written.
    """
    place = out.resolve()
    for files in cases:
        if any(path.resolve().parent == place for path in files.images.values()):
            raise ShaSpecError("a folder apart from the cases", f"{out}, in which {files.name} lies", "Choose another")
        if (place / labels_name(files)).exists() and not (place / table).exists():
            raise ShaSpecError(
                f"a folder without label maps of these cases, or with the {table} of the run that wrote them",
                f"{labels_name(files)} in {out}",
                "Choose another folder",
            )


def run_cohort(
    cases: Sequence[CaseFiles],
    client: Client,
    predictor: Predictor,
    table: CohortTable,
    progress: Callable[[Progress], object] | None = None,
) -> None:
    """Predict every case, and put a row for each into the table as it comes.

    Parameters
    ----------
    cases
        With distinct names; the finished ones left out.
    client
        Of the cluster.
    predictor
        Put into every worker, those that come later too.
    progress
        Called after each case.

    Raises
    ------
    ShaSpecError
        If there is no worker for two minutes, or the table cannot be written.
    """
    client.register_plugin(predictor, name=PLUGIN)
    began, failed = time.monotonic(), 0
    for done, row in enumerate(_rows(cases, client, predictor.job, table.begin), 1):
        failed += bool(row.error)
        table.add(row)
        if progress is not None:
            each = (time.monotonic() - began) / done
            progress(Progress(done, len(cases), failed, each * (len(cases) - done)))


def _rows(cases: Sequence[CaseFiles], client: Client, job: Job, begin: Callable[[str], object]) -> Iterator[Row]:
    """Never more cases at the workers than these have threads: one that dies takes nothing with it but its own case."""
    waiting = deque(cases)
    running: dict[Future[Row], tuple[CaseFiles, float]] = {}
    try:
        while waiting or running:
            free = _threads(client) - len(running)
            for _ in range(min(free, len(waiting))):
                files = waiting.popleft()
                begin(files.name)
                future = client.submit(predict_here, files, pure=False, retries=0)
                running[future] = files, time.monotonic()
            done = _finished(running) if running else []
            if not done:
                _wait_for_a_worker(client)
            for future in done:
                files, began = running.pop(future)
                yield _row(future, files, time.monotonic() - began, job)
                future.release()
    finally:
        client.cancel(list(running))


def _threads(client: Client) -> int:
    """Of the workers that are ready: counting one that still starts would send its case to one that is busy."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    return sum(worker["nthreads"] for worker in workers if worker["status"] == Status.running.name)


def _finished(running: Iterable[Future[Row]]) -> list[Future[Row]]:
    """Those that have ended, in whatever way; none when it is time to look for workers again."""
    futures = list(running)
    with suppress(TimeoutError, CancelledError):  # a case that was cancelled has ended, too
        wait(futures, timeout=LOOK_SECONDS, return_when=FIRST_COMPLETED)
    return [future for future in futures if future.done()]


def _row(future: Future[Row], files: CaseFiles, seconds: float, job: Job) -> Row:
    error = future.exception() if future.status != "cancelled" else None
    if future.status == "finished":
        row: Row = future.result()
        return row
    if error is None or isinstance(error, KilledWorker):
        said = DIED
    else:
        said = str(error) if isinstance(error, ShaSpecError) else f"{type(error).__name__}: {error}"
    return Row(
        files.name,
        frozenset(files.images),
        seconds=seconds,
        error=said,
        weights=job.sha256,
        settings=job.settings,
    )


def _wait_for_a_worker(client: Client) -> None:
    """Return at once where there is one, as there mostly is."""
    try:
        client.wait_for_workers(1, timeout=WORKERS_SECONDS)
    except TimeoutError as error:
        raise ShaSpecError(
            "at least one dask worker", f"none within {WORKERS_SECONDS} s", "Start workers, and run the command again"
        ) from error
