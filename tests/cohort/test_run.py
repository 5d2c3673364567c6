"""Real workers on this machine: what becomes of many cases, of broken ones, and of workers that die."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import psutil
import pytest
import torch
from distributed import Client, wait

from napari_shaspec.cohort import run
from napari_shaspec.cohort.cluster import LOCAL, local_client
from napari_shaspec.cohort.predictor import Job, Predictor
from napari_shaspec.cohort.run import DIED, Progress, check_apart, run_cohort
from napari_shaspec.cohort.table import CohortTable, Row, read_rows
from napari_shaspec.errors import ShaSpecError
from napari_shaspec.inference.engine import OutOfMemoryError, TorchEngine
from napari_shaspec.inference.session import Session
from napari_shaspec.io.cases import CaseFiles, find_cases, read_case
from napari_shaspec.modalities import Modality
from napari_shaspec.model.checkpoint import load_checkpoint
from napari_shaspec.model.networks import Network
from napari_shaspec.regions import Region
from tests.cohort.conftest import SUBSETS, MakeCases


class Deadly(Predictor):
    """Dies of one of its cases, as of a crash in a library or for want of memory."""

    def __init__(self, job: Job, deadly: str) -> None:
        super().__init__(job, 1)
        self.deadly = deadly

    def predict(self, files: CaseFiles) -> Row:
        if files.name == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().predict(files)


class Endless(Predictor):
    """Still at its first case when its worker goes."""

    def predict(self, files: CaseFiles) -> Row:
        threading.Event().wait(120)
        return super().predict(files)


class Together(Predictor):
    """Goes on with a case when as many as that are at work at once."""

    def __init__(self, job: Job, together: int) -> None:
        super().__init__(job, 1)
        self.together = together

    def predict(self, files: CaseFiles) -> Row:
        (self.job.out / f"{files.name}.begun").touch()
        late = time.monotonic() + 60
        while len(list(self.job.out.glob("*.begun"))) < self.together:
            assert time.monotonic() < late
            threading.Event().wait(0.02)
        return super().predict(files)


@pytest.fixture
def job(weights: Path, sha256: str, tmp_path: Path) -> Job:
    out = tmp_path / "out"
    out.mkdir()
    return Job(out, weights, sha256, "cpu", "float32")


def rows_of(job: Job) -> dict[str, Row]:
    return {row.case: row for row in read_rows(job.out / "cohort.csv")}


def scale_at_first_wait(client: Client, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the cluster have as many workers as that when the first case is under way; look for them often."""

    def scale(*args: object, **kwargs: object) -> object:
        client.cluster.scale(workers)
        monkeypatch.setattr(run, "wait", wait)
        return wait(*args, **kwargs)

    monkeypatch.setattr(run, "wait", scale)
    monkeypatch.setattr(run, "LOOK_SECONDS", 0.2)


def test_two_hundred_cases(client: Client, make_cases: MakeCases, job: Job) -> None:
    cases = find_cases(make_cases(200))
    heard: list[Progress] = []
    with CohortTable(job.out / "cohort.csv") as table:
        run_cohort(cases, client, Predictor(job, 1), table, heard.append)
    rows = rows_of(job)
    assert list(rows) == [files.name for files in cases]
    assert [row.available for row in rows.values()] == [SUBSETS[number % 15] for number in range(200)]
    assert all(not row.error and row.seconds > 0 for row in rows.values())
    assert sorted(path.name for path in job.out.glob("*_seg.nii.gz")) == [row.labels for row in rows.values()]
    assert [progress.done for progress in heard] == list(range(1, 201))
    assert (heard[-1].total, heard[-1].failed, heard[-1].seconds_left) == (200, 0, 0)
    # The same labels as without a cluster.
    for files in (cases[0], cases[14]):
        image = nib.load(job.out / rows[files.name].labels)
        case = read_case(next(iter(files.images.values())).parent)
        expected = Session(load_checkpoint(job.weights).model, case, device="cpu", precision="float32").predict()
        np.testing.assert_array_equal(np.asarray(image.dataobj), expected.labels())
        np.testing.assert_array_equal(image.affine, case.grid.affine)
        assert rows[files.name].volumes_ml[Region.WT] == pytest.approx(expected.volumes_ml()[Region.WT], abs=1e-3)


def test_a_broken_case_is_a_row_and_the_next_run_tries_it_again(
    client: Client, make_cases: MakeCases, job: Job
) -> None:
    folder = make_cases(4)
    broken = folder / "case_002" / "case_002_t1c.nii"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:400])
    cases = find_cases(folder)
    with CohortTable(job.out / "cohort.csv") as table:
        run_cohort(cases, client, Predictor(job, 1), table)
    rows = rows_of(job)
    assert [bool(row.error) for row in rows.values()] == [False, False, True, False]
    assert rows["case_002"].error.startswith("Expected ")
    assert rows["case_002"].available == {Modality.T1C}
    assert not (job.out / "case_002_seg.nii.gz").exists()
    broken.write_bytes(whole)
    with CohortTable(job.out / "cohort.csv") as table:
        left = [files for files in cases if not table.is_finished(files, job.sha256, job.settings)]
        assert [files.name for files in left] == ["case_002"]
        run_cohort(left, client, Predictor(job, 1), table)
    assert not any(row.error for row in rows_of(job).values())


def test_a_killed_worker_loses_only_its_case(client: Client, make_cases: MakeCases, job: Job) -> None:
    cases = find_cases(make_cases(8))
    before = set(client.run(os.getpid).values())
    with CohortTable(job.out / "cohort.csv") as table:
        run_cohort(cases, client, Deadly(job, "case_003"), table)
    rows = rows_of(job)
    assert [case for case, row in rows.items() if row.error] == ["case_003"]
    assert rows["case_003"].error == DIED
    assert len(rows) == 8
    client.wait_for_workers(2, timeout=60)
    assert len(before & set(client.run(os.getpid).values())) == 1  # a new process has taken the dead one's place


def test_a_cluster_whose_last_worker_goes_is_not_waited_for_without_end(
    make_cases: MakeCases, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "WORKERS_SECONDS", 1)
    # As a scheduler elsewhere has it: a case is tried again when its worker has gone.
    monkeypatch.setitem(LOCAL, "distributed.scheduler.allowed-failures", 3)
    cases = find_cases(make_cases(2))
    with local_client(1) as alone, CohortTable(job.out / "cohort.csv") as table:
        scale_at_first_wait(alone, 0, monkeypatch)
        with pytest.raises(ShaSpecError, match="at least one dask worker, found none within 1 s"):
            run_cohort(cases, alone, Endless(job, 1), table)
    assert not rows_of(job)


def test_workers_that_come_later_work_too(make_cases: MakeCases, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = find_cases(make_cases(2))
    with local_client(1) as growing, CohortTable(job.out / "cohort.csv") as table:
        scale_at_first_wait(growing, 2, monkeypatch)
        run_cohort(cases, growing, Together(job, 2), table)
    assert [row.error for row in rows_of(job).values()] == ["", ""]


def test_weights_are_loaded_once_by_each_worker(client: Client, make_cases: MakeCases, job: Job) -> None:
    with CohortTable(job.out / "cohort.csv") as table:
        run_cohort(find_cases(make_cases(6)), client, Predictor(job, 1), table)

    def network(dask_worker: object) -> tuple[int, int]:
        import torch

        predictor = dask_worker.plugins["napari-shaspec"]  # type: ignore[attr-defined]
        return int("checkpoint" in vars(predictor)), torch.get_num_threads()

    assert set(client.run(network).values()) == {(1, 1)}


def test_other_weights_on_a_worker_are_refused(client: Client, make_cases: MakeCases, job: Job) -> None:
    other = Job(job.out, job.weights, "0" * 64)
    with CohortTable(job.out / "cohort.csv") as table:
        run_cohort(find_cases(make_cases(2)), client, Predictor(other, 1), table)
    assert all(row.error.startswith("Expected the weights 0000") for row in rows_of(job).values())


def test_an_interruption_leaves_a_valid_table(client: Client, make_cases: MakeCases, job: Job) -> None:
    cases = find_cases(make_cases(20))

    def interrupt(progress: Progress) -> None:
        if progress.done == 5:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt), CohortTable(job.out / "cohort.csv") as table:
        run_cohort(cases, client, Predictor(job, 1), table, interrupt)
    done = rows_of(job)
    assert len(done) == 5
    with CohortTable(job.out / "cohort.csv") as table:
        left = [files for files in cases if not table.is_finished(files, job.sha256, job.settings)]
        assert len(left) == 15
        run_cohort(left, client, Predictor(job, 1), table)
    assert len(rows_of(job)) == 20


@pytest.mark.skipif(not hasattr(psutil.Process, "net_connections"), reason="an older psutil")
def test_nobody_outside_this_machine_can_reach_the_cluster(client: Client) -> None:
    here = psutil.Process()
    listening = [
        connection.laddr.ip
        for process in (here, *here.children(recursive=True))
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 3  # the scheduler and two workers
    assert set(listening) == {"127.0.0.1"}


def test_a_full_device_gives_way_to_the_cpu_with_a_warning(
    make_cases: MakeCases, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    def engine(model: Network, device: str, precision: str) -> TorchEngine:
        if device == "mps":
            raise OutOfMemoryError("full")
        return TorchEngine(model, device, precision)

    monkeypatch.setattr("napari_shaspec.inference.engine.TorchEngine", engine)
    monkeypatch.setattr("napari_shaspec.inference.engine.choose_device", torch.device)
    row = Predictor(replace(job, device="mps")).predict(find_cases(make_cases(1))[0])
    assert "mps has no memory for the network: the CPU runs it instead." in row.warnings
    assert (job.out / row.labels).is_file()


def test_labels_do_not_land_among_images(make_cases: MakeCases) -> None:
    folder = make_cases(2)
    cases = find_cases(folder)
    out = folder / "out"
    check_apart(cases, out, "cohort.csv")
    out.mkdir()
    theirs = out / f"{cases[0].name}_seg.nii.gz"
    theirs.write_bytes(b"an expert's")
    with pytest.raises(ShaSpecError, match="a folder without label maps of these cases"):
        check_apart(cases, out, "cohort.csv")
    (out / "cohort.csv").touch()  # of the run that wrote it
    check_apart(cases, out, "cohort.csv")
    with pytest.raises(ShaSpecError, match="in which case_001 lies"):
        check_apart(cases, folder / "case_001", "cohort.csv")
