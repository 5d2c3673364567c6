"""Two processes with a case each make the step that one process with both cases makes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch

from napari_shaspec.io.cases import CaseFiles
from napari_shaspec.model.checkpoint import load_checkpoint

ROOT = Path(__file__).parents[2]
PUBLISHED = (
    "--preset paper --widths 2,4 --patch 16,16,8 --steps 3 --all-steps 1 --validation-steps 3 --checkpoint-steps 0 "
    "--augmentation full --seed 5 --device cpu --precision float32 --workers 0"
)
"""Plain SGD without momentum's history in its first step: the weights tell the gradients. Steps 2 and 3 see subsets."""


def weights(folder: Path, out: Path, *options: str) -> dict[str, torch.Tensor]:
    command = [sys.executable, "-m", "napari_shaspec", "train", str(folder), "--out", str(out), *PUBLISHED.split()]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, *options], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return load_checkpoint(out / "weights.safetensors").model.state_dict()


def test_two_processes_make_the_gradient_of_the_joint_batch(tmp_path: Path, cases: tuple[CaseFiles, ...]) -> None:
    folder = next(iter(cases[0].images.values())).parent.parent
    # The third case lacks T1: together with another one, it would hide the other one's.
    split = tmp_path / "split.json"
    split.write_text('{"train": ["a", "b"], "validation": ["c"]}')
    together = weights(folder, tmp_path / "together", "--split", str(split), "--batch", "2")
    apart = weights(folder, tmp_path / "apart", "--split", str(split), "--devices", "2")
    for name, tensor in together.items():
        torch.testing.assert_close(apart[name], tensor, rtol=1e-4, atol=1e-6, msg=name)
