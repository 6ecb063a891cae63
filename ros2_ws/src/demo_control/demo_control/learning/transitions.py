"""What the networks make of the next observation, with PyTorch; see :mod:`demo_control.transitions`."""

from __future__ import annotations

import torch
from torch import Tensor

from demo_control.tasks import Task
from demo_control.transitions import next_columns


class TorchNamespace:
    """The functions of :class:`demo_control.tasks.Namespace` for tensors."""

    abs = staticmethod(torch.abs)
    cos = staticmethod(torch.cos)
    exp = staticmethod(torch.exp)
    sin = staticmethod(torch.sin)
    sqrt = staticmethod(torch.sqrt)

    def maximum(self, x: Tensor | float, y: Tensor | float, /) -> Tensor:
        """Elementwise maximum."""
        return torch.maximum(*_tensors(x, y))

    def minimum(self, x: Tensor | float, y: Tensor | float, /) -> Tensor:
        """Elementwise minimum."""
        return torch.minimum(*_tensors(x, y))


def next_tensors(task: Task, x: Tensor, y: Tensor, u: Tensor) -> Tensor:
    """The next observations, differentiable. Shape=(..., observation_dim)."""
    columns = next_columns(task, x.unbind(-1), y.unbind(-1), u.unbind(-1), TorchNamespace())
    return torch.stack(columns, dim=-1)


def _tensors(x: Tensor | float, y: Tensor | float) -> tuple[Tensor, Tensor]:
    return torch.as_tensor(x), torch.as_tensor(y)
