"""The paper's ablations: the same training with one thing changed, each variant scored on the same cases."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.evaluation.subsets import Score, evaluate_case
from napari_shaspec.evaluation.tables import read_scores, write_scores
from napari_shaspec.inference.session import Session
from napari_shaspec.io.atomic import make_folder
from napari_shaspec.io.cases import CaseFiles
from napari_shaspec.modalities import Modality
from napari_shaspec.model.checkpoint import load_checkpoint
from napari_shaspec.model.config import Substitution
from napari_shaspec.model.objective import ALPHA, BETA, AlignmentLoss
from napari_shaspec.training.config import TrainConfig, differences
from napari_shaspec.training.export import WEIGHTS, begun_with
from napari_shaspec.training.splits import SPLIT, read_split, split_cases, write_split
from napari_shaspec.training.train import LAST, Hardware, train

GRID = (0.0, 0.02, 0.1, 0.5, 0.7, 1.0)
"""The values of alpha and beta that the paper tried, the other one being at its best."""

SCORES = "scores.csv"
"""What a finished variant leaves in its folder."""


class Ablation(StrEnum):
    """What is changed: the variant of DAO, alpha and beta, one network for each modality, or the stand-in rule."""

    DAO = "dao"
    WEIGHTS = "weights"
    DEDICATED = "dedicated"
    SUBSTITUTION = "substitution"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished variant: how it was trained, and its scores on the cases kept aside."""

    variant: str
    config: TrainConfig
    scores: tuple[Score, ...]


def variants(ablation: Ablation, base: TrainConfig) -> dict[str, TrainConfig]:
    """Configurations by the name of their folder."""
    match ablation:
        case Ablation.DAO:
            return {f"dao-{kind}": replace(base, alignment=kind) for kind in AlignmentLoss}
        case Ablation.WEIGHTS:
            pairs = dict.fromkeys([*((alpha, BETA) for alpha in GRID), *((ALPHA, beta) for beta in GRID)])
            return {f"alpha-{alpha:g}_beta-{beta:g}": replace(base, alpha=alpha, beta=beta) for alpha, beta in pairs}
        case Ablation.DEDICATED:
            alone = {f"only-{name}": replace(base, dedicated=(name,)) for name in base.model.modalities}
            return {"all-subsets": base, **alone}
        case Ablation.SUBSTITUTION:
            return {
                f"missing-is-{rule}": replace(base, model=replace(base.model, substitution=rule))
                for rule in Substitution
            }


def run_variants(
    chosen: Mapping[str, TrainConfig],
    cases: Sequence[CaseFiles],
    out: Path,
    hardware: Hardware,
    progress: Callable[[str], object] = lambda text: None,
) -> None:
    """Train and score the variants that have no scores yet, each in a folder of its name; go on with one that stopped.

    Raises
    ------
    ShaSpecError
        If a folder holds a variant that was trained otherwise.
    """
    path = out / SPLIT
    if not path.exists():
        make_folder(out)
        write_split(split_cases(cases, next(iter(chosen.values())).seed), path)
    _, validation = read_split(path, cases)
    for number, (name, config) in enumerate(chosen.items(), 1):
        folder = out / name
        if (folder / SCORES).exists():
            _check(folder, config)
            progress(f"{name} ({number} of {len(chosen)}) is there")
            continue
        progress(f"{name} ({number} of {len(chosen)})")
        if (folder / LAST).exists() and (first := begun_with(folder / LAST)["steps"]) != config.steps:
            raise ShaSpecError(
                f"--steps {first}, with which {name} was begun",
                f"{config.steps}",
                "Give that number, or another folder",
            )
        train(
            config,
            folder,
            cases=cases,
            split=path,
            hardware=hardware,
            resume=(folder / LAST).exists(),
            command=f"napari-shaspec ablate, {name}",
            progress=False,
        )
        # The weights at the end, not the best ones on the very cases that they are scored on.
        write_scores(_scores(folder / WEIGHTS, config, validation, hardware), folder / SCORES)


def outcomes(known: Mapping[str, TrainConfig], out: Path) -> list[Outcome]:
    """Those of the variants that are finished.

    Raises
    ------
    ShaSpecError
        If one of them was trained otherwise.
    """
    finished = {name: config for name, config in known.items() if (out / name / SCORES).exists()}
    for name, config in finished.items():
        _check(out / name, config)
    return [Outcome(name, config, tuple(read_scores(out / name / SCORES))) for name, config in finished.items()]


def _scores(weights: Path, config: TrainConfig, cases: Sequence[CaseFiles], hardware: Hardware) -> list[Score]:
    """Of whole cases, for all subsets, or for the one that a network is dedicated to."""
    model = load_checkpoint(weights).model
    wanted = frozenset(Modality(name) for name in config.dedicated)
    scores: list[Score] = []
    for files in cases:
        case = files.read()
        if wanted:
            case = replace(case, images={modality: case.images[modality] for modality in wanted})
        session = Session(model, case, device=hardware.device, precision=hardware.precision)
        scores += [score for score in evaluate_case(session, case) if not wanted or score.available == wanted]
    return scores


def _check(folder: Path, config: TrainConfig) -> None:
    """Rows of one table must differ in what the table is about, and in nothing else."""
    before = load_checkpoint(folder / WEIGHTS).training.get("train_config", {})
    for name, (first, now) in differences(before, config.to_dict()).items():
        raise ShaSpecError(
            f"{name} = {first} as in {folder}",
            f"{now}",
            "Give the options of the first start, or begin in another folder",
        )
