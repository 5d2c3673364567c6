"""For every test: napari must not touch the settings of the person who runs them; and a report as of an export."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from napari_shaspec.io.report import Report

# An empty string keeps napari's settings in memory. It has to be there before the first import of napari, so it is
# set here and not in a fixture.
os.environ["NAPARI_CONFIG"] = ""

# A shell starts background jobs deaf to Ctrl+C, and tests of interruptions raise it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def report() -> Report:
    """Of a prediction from FLAIR; `dataclasses.replace` makes others of it."""
    from napari_shaspec.io.report import Report
    from napari_shaspec.modalities import Modality
    from napari_shaspec.regions import DEFAULT_THRESHOLDS, Region

    return Report(
        case="a",
        images={Modality.FLAIR: ("", "")},
        available=frozenset({Modality.FLAIR}),
        weights=("", ""),
        statement="",
        stand_in_rule="",
        device="cpu",
        precision="float32",
        thresholds=DEFAULT_THRESHOLDS,
        smooth=False,
        labels="1-2-4",
        edited=False,
        volumes_ml=dict.fromkeys(Region, 1.0),
    )
