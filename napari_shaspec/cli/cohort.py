"""`napari-shaspec cohort`: label maps of many cases, and one table of what became of each."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_shaspec.cli.options import ChosenPrecision, Device, Precision, Smooth, Threshold, Weights, thresholds_of
from napari_shaspec.cli.screen import load_weights, progress_bar, say
from napari_shaspec.errors import ShaSpecError
from napari_shaspec.io.text import listed
from napari_shaspec.regions import Convention

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_shaspec.cohort.predictor import Job
    from napari_shaspec.cohort.run import Progress
    from napari_shaspec.cohort.table import CohortTable
    from napari_shaspec.io.cases import CaseFiles

TABLE = "cohort.csv"
LINES_APART_SECONDS = 60.0


def cohort(  # noqa: PLR0913 (a command's options are its parameters)
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder of cases, as deep as BIDS goes.")],
    out: Annotated[
        Path, typer.Option(help="Folder for cohort.csv and the label maps; a second run goes on with what is there.")
    ],
    scheduler: Annotated[
        str | None, typer.Option(help="A dask scheduler, as in tcp://host:8786; this machine if left out.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes on this machine; by default one a core, as far as memory goes.", min=1)
    ] = None,
    weights: Weights = None,
    device: Device = "auto",
    precision: ChosenPrecision = Precision.AUTO,
    convention: Annotated[
        Convention, typer.Option(help="Numbers for NCR/NET, ED and ET in the label maps.")
    ] = Convention.BRATS_2018,
    threshold: Threshold = None,
    smooth: Smooth = False,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Also write CASE_seg_ET, CASE_seg_TC, CASE_seg_WT.")
    ] = False,
    report: Annotated[
        bool, typer.Option("--report", help="Also write CASE_seg.json: everything that made the labels.")
    ] = False,
) -> None:
    """Segment every case of a folder with whichever modalities it has; a row for each, failed ones too."""
    from napari_shaspec.cohort.cluster import default_workers, local_client, remote_client, torch_threads
    from napari_shaspec.cohort.predictor import Job, Predictor
    from napari_shaspec.cohort.run import check_apart, run_cohort
    from napari_shaspec.cohort.table import CohortTable
    from napari_shaspec.io.atomic import make_folder, remove_leftovers
    from napari_shaspec.io.cases import find_cases
    from napari_shaspec.io.nifti import check_no_stranger

    thresholds = thresholds_of(threshold)
    if scheduler is not None and workers is not None:
        raise ShaSpecError("--scheduler or --workers", "both", "A scheduler brings workers of its own: leave one out")
    cases = find_cases(folder.resolve())
    check_apart(cases, out, TABLE)
    checkpoint = load_weights(weights)
    if scheduler is None:
        usual = default_workers(_device(device))
        workers = workers or usual
    job = Job(
        out.resolve(),
        checkpoint.path.resolve(),
        checkpoint.sha256,
        device,
        precision.value,
        convention,
        smooth,
        thresholds,
        probabilities,
        report,
    )
    make_folder(out)
    with CohortTable(out / TABLE) as table:
        left = [files for files in cases if not _is_finished(files, table, job)]
        if len(left) < len(cases):
            say(f"{len(cases) - len(left)} of {len(cases)} cases are finished already.")
        _say_of_before(cases, table)
        _spare_edited([files.name for files in cases if table.was_edited(files)], {files.name for files in left})
        check_no_stranger([path for files in left for path in job.outputs(files).files()], [table.path])
        try:
            if left:
                client = local_client(workers) if workers is not None else remote_client(str(scheduler))
                threads = None if workers is None else torch_threads(workers)
                with _reporting() as progress, client as connected:
                    run_cohort(left, connected, Predictor(job, threads), table, progress)
        finally:
            remove_leftovers(out)
    failed = sum(bool(table.rows[files.name].error) for files in left)
    typer.echo(f"Wrote {out / TABLE}: {len(left) - failed} predicted, {len(cases) - len(left)} kept, {failed} failed")
    if failed:
        raise ShaSpecError(
            f"to segment all {len(cases)} cases",
            f"{failed} that failed",
            f"Read the column error of {TABLE}; running again tries these once more",
        )


def _is_finished(files: CaseFiles, table: CohortTable, job: Job) -> bool:
    """With everything that is asked for beside the label map, too, and of the same run: it is written after it."""
    if not table.is_finished(files, job.sha256, job.settings):
        return False
    outputs = job.outputs(files)
    labels, *others = outputs.files()
    if not all(path.is_file() for path in (labels, *others)):
        return False
    if outputs.report:
        from napari_shaspec.io.report import read_report

        with suppress(ShaSpecError):
            return read_report(outputs.report_path()).outputs.get(labels.name) == table.rows[files.name].labels_sha256
        return False
    written = labels.stat().st_mtime_ns
    return all(path.stat().st_mtime_ns >= written for path in others) or table.was_edited(files)


def _say_of_before(cases: Sequence[CaseFiles], table: CohortTable) -> None:
    """Results of other images under the same names give way, and those of cases that are gone stay."""
    other = [files.name for files in cases if table.of_other_images(files)]
    if other:
        say(f"Of other images than before, so their results are replaced: {', '.join(other)}.")
    gone = sorted(table.rows.keys() - {files.name for files in cases})
    if gone:
        say(f"In {TABLE} from before, and not among these cases: {listed(gone)}.")


def _spare_edited(edited: Sequence[str], left: Collection[str]) -> None:
    """What somebody has corrected is not written over, and the table's volumes are not of it."""
    lost = [name for name in edited if name in left]
    if lost:
        raise ShaSpecError(
            "label maps as this command wrote them, where cases are to be predicted again",
            f"changed ones of {', '.join(lost)}",
            "Move them to another folder, or choose another for the results",
        )
    if edited:
        changed = f"the label maps of {', '.join(edited)}"
        say(f"Changed since they were written: {changed}. The table's volumes are not theirs.")


def _device(name: str) -> str:
    """A wrong name is one error, not one for each case."""
    from napari_shaspec.inference.devices import choose_device

    return choose_device(name).type


@contextmanager
def _reporting() -> Iterator[Callable[[Progress], None]]:
    """A bar with the time that is left; where there is no terminal, a line a minute."""
    from rich.console import Console

    terminal = Console(stderr=True).is_terminal
    said = time.monotonic()
    with progress_bar("starting workers") as advance:

        def report(progress: Progress) -> None:
            nonlocal said
            failed = f", {progress.failed} failed" if progress.failed else ""
            advance(f"case {progress.done} of {progress.total}{failed}", progress.done, progress.total)
            if not terminal and time.monotonic() - said > LINES_APART_SECONDS:
                said = time.monotonic()
                minutes = progress.seconds_left / 60
                say(f"{progress.done} of {progress.total} cases{failed}, about {minutes:.0f} min left")

        yield report
