"""A small network in a file as the released code writes it: wrapped, with an optimizer and stray activations."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from tests.released_reference import SMALL, DualNet, random_net


@pytest.fixture(scope="session")
def reference() -> DualNet:
    return random_net(1, **SMALL)


@pytest.fixture(scope="session")
def saved(reference: DualNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("released") / "final.pth"
    wrapped = nn.DataParallel(reference)
    reference.last_activation = torch.zeros(1000)
    optimizer = torch.optim.SGD(reference.parameters(), 0.1)
    torch.save({"model": wrapped, "optimizer": optimizer, "iter": 180_000}, path)
    return path
