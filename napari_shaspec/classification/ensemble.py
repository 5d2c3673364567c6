"""Many small networks of one kind, trained as one: their weights stacked, their losses computed by `torch.func.vmap`.

Adam works weight by weight, so a stack of networks takes exactly the steps that each would take alone. What is random
inside (dropout) is drawn for all networks together: the same networks with the same seed repeat themselves.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

Compute = Callable[..., Tensor]
"""A network, and tensors or tuples of tensors -> a tensor."""


class _Applied(nn.Module):
    """Lets a function that calls several methods of a network run under `functional_call`."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, compute: Compute, *inputs: Any) -> Tensor:
        return compute(self.network, *inputs)


class Ensemble:
    """A stack of networks of equal shape.

    Parameters
    ----------
    networks
        Their weights are copied.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        parameters, self.buffers = stack_module_state([_Applied(network) for network in networks])
        self.parameters = {name: tensor.detach().requires_grad_() for name, tensor in parameters.items()}
        self._template = _Applied(copy.deepcopy(networks[0]))
        self.count = len(networks)

    def losses(self, compute: Compute, *batches: Any) -> Tensor:
        """Compute a scalar of every network in training mode, each from its own batch -> (count,).

        Batch norm's running statistics follow.
        """
        return self._mapped(compute, batches, own=True)

    @torch.no_grad()
    def predictions(self, compute: Compute, *inputs: Any, own: bool) -> Tensor:
        """Compute a tensor of every network in evaluation mode -> (count, ...).

        Parameters
        ----------
        own
            Whether each network has its own inputs, stacked along the first axis; else all see the same.
        """
        self._template.eval()
        try:
            return self._mapped(compute, inputs, own=own)
        finally:
            self._template.train()

    def state(self) -> dict[str, Tensor]:
        """Copies of all weights and buffers, each with the networks along the first axis."""
        return {name: tensor.detach().clone() for name, tensor in (self.parameters | self.buffers).items()}

    @torch.no_grad()
    def load(self, state: dict[str, Tensor]) -> None:
        """Go back to an earlier state."""
        for name, tensor in (self.parameters | self.buffers).items():
            tensor.copy_(state[name])

    def network(self, index: int) -> nn.Module:
        """One of the networks, by itself."""
        alone = copy.deepcopy(self._template)
        alone.load_state_dict({name: tensor[index] for name, tensor in self.state().items()})
        return alone.network

    def _mapped(self, compute: Compute, inputs: Sequence[Any], *, own: bool) -> Tensor:
        def one(parameters: dict[str, Tensor], buffers: dict[str, Tensor], *given: Any) -> Tensor:
            answer: Tensor = functional_call(self._template, (parameters, buffers), (compute, *given))
            return answer

        axes = (0, 0, *[0 if own else None] * len(inputs))
        mapped: Tensor = vmap(one, axes, randomness="different")(self.parameters, self.buffers, *inputs)
        return mapped


def keep_better(best: dict[str, Tensor], now: dict[str, Tensor], better: Tensor) -> dict[str, Tensor]:
    """Take over the state of those networks that ``better`` (count,) marks."""
    return {
        name: torch.where(better.view(-1, *[1] * (tensor.ndim - 1)), now[name], tensor) for name, tensor in best.items()
    }
