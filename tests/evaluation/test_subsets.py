"""The scan over subsets and the scores that come of it."""

from dataclasses import replace

import numpy as np
import pytest

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.evaluation.metrics import MISSED_MM
from napari_shaspec.evaluation.subsets import evaluate_case, scan_subsets
from napari_shaspec.inference.session import Session
from napari_shaspec.modalities import Modality, nonempty_subsets, subset_name
from napari_shaspec.regions import Region
from napari_shaspec.volume import Case

FLAIR, T1, T1C, T2 = Modality


def test_scan_predicts_from_all_subsets_in_table_order(session: Session) -> None:
    scanned = list(scan_subsets(session))
    assert [available for available, _ in scanned] == list(nonempty_subsets(tuple(Modality)))
    assert all(prediction.available == available for available, prediction in scanned)
    alone = session.predict({T1C})
    np.testing.assert_array_equal(scanned[2][1].probabilities, alone.probabilities)


def test_scan_keeps_to_what_the_case_has(session: Session, case: Case) -> None:
    session.case = replace(case, images={T2: case.images[T2], T1: case.images[T1]})
    assert [subset_name(available) for available, _ in scan_subsets(session)] == ["t1", "t2", "t1+t2"]


def test_scan_of_chosen_subsets(session: Session) -> None:
    chosen = [frozenset({T1, T2}), frozenset({FLAIR})]
    assert [available for available, _ in scan_subsets(session, chosen)] == chosen


def test_every_subset_and_region_is_scored(only_flair_sees: Session, case: Case) -> None:
    steps: list[tuple[int, int]] = []
    scores = evaluate_case(only_flair_sees, case, lambda done, total: steps.append((done, total)))
    assert [(score.available, score.region) for score in scores] == [
        (available, region) for available in nonempty_subsets(tuple(Modality)) for region in Region
    ]
    assert {score.case for score in scores} == {"small"}
    for score in scores:
        expected = (1.0, 0.0) if FLAIR in score.available else (0.0, MISSED_MM)
        assert (score.dice, score.hd95_mm) == expected
    assert steps == [(done, 15) for done in range(1, 16)]


def test_case_without_label_map_is_refused(only_flair_sees: Session, case: Case) -> None:
    with pytest.raises(ShaSpecError, match="a label map with small"):
        evaluate_case(only_flair_sees, replace(case, truth=None))
