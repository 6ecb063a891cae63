"""Products of matrices with what networks that learn do to them, by the compiled kernel; several in one call."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from demo_control.rollout.native.library import Kernel, KernelError, Pointer, address

FINISHES = ("none", "relu", "tanh", "silu", "relu_slope", "tanh_slope", "silu_slope")
"""'FinishKind' in kernel/multiply.hpp."""

_ALIGNMENT = 64


class _Product(ctypes.Structure):
    """One product; see kernel/multiply.hpp."""

    _fields_ = [
        (name, ctypes.c_int64)
        for name in (
            "networks", "rows", "inner", "columns", "pieces", "finish", "left_network", "left_row", "left_inner",
            "right_network", "right_inner", "right_column", "bias_network", "out_network", "out_row",
        )
    ] + [(name, Pointer) for name in ("left", "right", "bias", "applied", "out")]  # fmt: skip


@dataclass(frozen=True)
class Matrices:
    """float32 matrices, one for each network, in memory that somebody else holds.

    Attributes:
        address: Of the first number.
        shape: (networks, rows, columns).
        strides: In numbers; that of the networks may be 0.
    """

    address: int
    shape: tuple[int, int, int]
    strides: tuple[int, int, int]

    @property
    def transposed(self) -> Matrices:
        """Rows for columns."""
        (networks, rows, columns), (network, row, column) = self.shape, self.strides
        return Matrices(self.address, (networks, columns, rows), (network, column, row))


@dataclass(frozen=True)
class Term:
    """out = finish(left right + bias), network by network.

    Attributes:
        left: Shape=(networks, rows, inner).
        right: Shape=(networks, inner, columns).
        out: Shape=(networks, rows, columns), columns side by side.
        finish: One of :data:`FINISHES`; a slope is that of the activation, which the sum is multiplied with.
        bias: Shape=(networks, 1, columns), columns side by side.
        applied: What the activation made (relu_slope, tanh_slope) or was applied to (silu_slope); for silu, where that
            is kept. Laid out as ``out``.
    """

    left: Matrices
    right: Matrices
    out: Matrices
    finish: str = "none"
    bias: Matrices | None = None
    applied: Matrices | None = None

    def __post_init__(self) -> None:
        """Check what the kernel takes for granted.

        Raises:
            ValueError: Shapes that do not go together, or a layout that the kernel does not know.
        """
        networks, rows, columns = self.out.shape
        inner = self.left.shape[2]
        wanted = {
            "left": (self.left, (networks, rows, inner)),
            "right": (self.right, (networks, inner, columns)),
            "bias": (self.bias, (networks, 1, columns)),
            "applied": (self.applied, self.out.shape),
        }
        for name, (given, shape) in wanted.items():
            if given is not None:
                _check(name, given, shape)
        if any(given is not None and given.strides[2] != 1 for given in (self.out, self.bias)):
            raise ValueError("out, bias: columns must lie side by side")
        if self.applied is not None and self.applied.strides != self.out.strides:
            raise ValueError(f"applied: strides {self.applied.strides}, expected {self.out.strides}")
        if self.applied is None and self.finish.endswith("_slope"):
            raise ValueError(f"finish = '{self.finish}': needs 'applied'")

    def fill(self, product: _Product) -> None:
        """Write what the kernel reads."""
        product.networks, product.rows, product.columns = self.out.shape
        product.inner, product.finish = self.left.shape[2], FINISHES.index(self.finish)
        _write_left(product, self.left)
        _write_right(product, self.right)
        product.out, (product.out_network, product.out_row, _) = self.out.address, self.out.strides
        if self.bias is not None:
            product.bias, product.bias_network = self.bias.address, self.bias.strides[0]
        if self.applied is not None:
            product.applied = self.applied.address


class Products:
    """Products that are made one after the other, in one call that lets the GIL go.

    The memory that they name must live as long as this.

    Args:
        kernel: Makes them.
        terms: The first one first.
        variant: Instruction set; by default the fastest.
        rounded: Whether factors of large products are rounded to bfloat16 where a matrix unit gains by it (the variant
            'amx'); elsewhere nothing is.

    Raises:
        KernelError: No such instruction set here.
    """

    def __init__(
        self, kernel: Kernel, terms: Sequence[Term], variant: str | None = None, *, rounded: bool = False
    ) -> None:
        self._terms = tuple(terms)
        self._products = (_Product * len(terms))()
        for product, term in zip(self._products, terms, strict=True):
            term.fill(product)
            product.pieces = 1 if rounded else 3
        names = kernel.variants if variant is None else (variant,)
        found = (kernel.functions.demo_native_multiplier(name.encode()) for name in names)
        self._multiplier = next(filter(None, found), None)
        if self._multiplier is None:
            raise KernelError(f"no products with the instruction sets {', '.join(names)} here")
        count = kernel.functions.demo_native_product_workspace(self._multiplier, self._products, len(terms))
        self._memory = np.empty(count + _ALIGNMENT, np.float32)
        start = address(self._memory)
        self._workspace = start + -start % _ALIGNMENT
        self._multiply = kernel.functions.demo_native_multiply

    def set_left(self, number: int, left: Matrices) -> None:
        """Another left matrix in one of the products.

        Raises:
            ValueError: Of another shape.
        """
        _check("left", left, self._terms[number].left.shape)
        _write_left(self._products[number], left)

    def set_right(self, number: int, right: Matrices) -> None:
        """Another right matrix in one of the products.

        Raises:
            ValueError: Of another shape.
        """
        _check("right", right, self._terms[number].right.shape)
        _write_right(self._products[number], right)

    def make(self) -> None:
        """Make all of them."""
        self._multiply(self._multiplier, self._products, len(self._products), self._workspace)


def _write_left(product: _Product, left: Matrices) -> None:
    product.left, (product.left_network, product.left_row, product.left_inner) = left.address, left.strides


def _write_right(product: _Product, right: Matrices) -> None:
    product.right, (product.right_network, product.right_inner, product.right_column) = right.address, right.strides


def _check(name: str, given: Matrices, shape: tuple[int, int, int]) -> None:
    if given.shape != shape:
        raise ValueError(f"{name}: shape {given.shape}, expected {shape}")
