"""How exact matrix products are: PyTorch's, and those of passes (``native_passes.py``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

import torch

PRECISIONS: Mapping[str, str] = MappingProxyType({"float32": "highest", "bfloat16": "medium"})
"""Names of the settings, and what PyTorch calls them. Sums are in float32 either way."""


@contextmanager
def matrix_products(precision: str) -> Iterator[None]:
    """Make products of float32 matrices with factors rounded to this precision, where the processor gains by it.

    That is where it multiplies bfloat16 itself (passes: AMX; PyTorch: AVX-512 BF16, too); elsewhere nothing is rounded.

    Args:
        precision: One of :data:`PRECISIONS`.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(PRECISIONS[precision])
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def are_exact() -> bool:
    """Whether products are made with factors as they are."""
    return torch.get_float32_matmul_precision() == PRECISIONS["float32"]
