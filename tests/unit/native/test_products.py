"""Products of matrices against NumPy in double precision, on every instruction set that this machine has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from demo_control.rollout.native import KernelError
from demo_control.rollout.native.library import Kernel, address
from demo_control.rollout.native.products import FINISHES, Matrices, Products, Term

Float32s = npt.NDArray[np.float32]

SHAPES = [
    # networks, rows, inner, columns
    (1, 1, 1, 1),
    (2, 7, 3, 5),
    (3, 25, 17, 1),
    (1, 1, 40, 33),
    (2, 30, 0, 20),
    (2, 64, 23, 70),
    (2, 256, 256, 256),  # for the matrix unit from here on
    (1, 33, 129, 47),
    (2, 150, 160, 32),
]


def sigmoid(x: Any) -> Any:  # noqa: ANN401 - an array
    return 1.0 / (1.0 + np.exp(-x))


ENDS: dict[str, Callable[[Any, Any], Any]] = {
    "none": lambda s, _: s,
    "relu": lambda s, _: np.maximum(s, 0.0),
    "tanh": lambda s, _: np.tanh(s),
    "silu": lambda s, _: s * sigmoid(s),
    "relu_slope": lambda s, y: s * (y > 0.0),
    "tanh_slope": lambda s, y: s * (1.0 - y**2),
    "silu_slope": lambda s, x: s * (sigmoid(x) + x * sigmoid(x) * (1.0 - sigmoid(x))),
}


@pytest.fixture(params=["amx", "avx512", "avx2", "baseline"])
def variant(request: pytest.FixtureRequest, kernel: Kernel) -> str:
    if request.param not in kernel.variants:
        pytest.skip("not on this machine")
    return str(request.param)


def matrices(array: Float32s) -> Matrices:
    networks, rows, columns = array.shape
    network, row, column = (stride // array.itemsize for stride in array.strides)
    return Matrices(address(array), (networks, rows, columns), (network, row, column))


def numbers(seed: int, *shape: int) -> Float32s:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


@pytest.mark.parametrize("finish", FINISHES)
@pytest.mark.parametrize("shape", SHAPES)
def test_products_are_those_of_numpy(
    kernel: Kernel, variant: str, shape: tuple[int, int, int, int], finish: str
) -> None:
    networks, rows, inner, columns = shape
    left, right, bias = (
        numbers(i, networks, *s) for i, s in enumerate([(rows, inner), (inner, columns), (1, columns)])
    )
    # Results lie in larger matrices: what is beside them stays as it is.
    room, applied = np.full((networks, rows, columns + 3), 7.0, np.float32), numbers(4, networks, rows, columns + 3)
    out, kept = room[..., :columns], applied[..., :columns]
    expected_sums = left.astype(np.float64) @ right + bias
    expected = ENDS[finish](expected_sums, kept.astype(np.float64))
    given = matrices(kept) if finish == "silu" or finish.endswith("slope") else None
    Products(
        kernel, [Term(matrices(left), matrices(right), matrices(out), finish, matrices(bias), given)], variant
    ).make()

    # As exact as sums in single precision are, in any order.
    unit = 1e-6 * (np.abs(left).astype(np.float64) @ np.abs(right) + 1.0) * np.maximum(1.0, np.abs(kept))
    assert (np.abs(out - expected) <= unit).all()
    assert (room[..., columns:] == 7.0).all()
    if finish == "silu":
        assert (np.abs(kept - expected_sums) <= unit).all()


@pytest.mark.parametrize(("rows", "inner", "columns"), [(20, 30, 40), (150, 200, 130)])
def test_matrices_may_be_turned_shared_and_without_bias(
    kernel: Kernel, variant: str, rows: int, inner: int, columns: int
) -> None:
    left = numbers(0, 1, inner, rows + 2)[:, :, 1 : rows + 1].transpose(0, 2, 1)
    shared = np.broadcast_to(left, (3, rows, inner))
    right = numbers(1, 3, columns, inner + 1)[:, :, :inner].transpose(0, 2, 1)
    out = np.empty((3, rows, columns), np.float32)
    products = Products(kernel, [Term(matrices(shared), matrices(right), matrices(out))], variant)
    products.make()
    np.testing.assert_allclose(out, shared.astype(np.float64) @ right, rtol=1e-5, atol=1e-4)

    other_left, other_right = numbers(2, 3, rows, inner), numbers(3, 3, inner, columns)
    products.set_left(0, matrices(other_left))
    products.set_right(0, matrices(other_right))
    products.make()
    np.testing.assert_allclose(out, other_left.astype(np.float64) @ other_right, rtol=1e-5, atol=1e-4)


def test_one_product_may_take_what_another_made(kernel: Kernel, variant: str) -> None:
    x, weights = numbers(0, 2, 40, 150), numbers(1, 2, 150, 150) / 10.0
    hidden, out = np.empty((2, 40, 150), np.float32), np.empty((2, 40, 150), np.float32)
    first = Term(matrices(x), matrices(weights), matrices(hidden), "tanh")
    products = Products(kernel, [first, Term(matrices(hidden), matrices(weights), matrices(out))], variant)
    products.make()
    made = out.copy()
    products.make()

    assert (out == made).all()
    np.testing.assert_allclose(out, np.tanh(x.astype(np.float64) @ weights) @ weights, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES[-3:])
@pytest.mark.parametrize("turned", [False, True])
def test_factors_are_rounded_where_a_matrix_unit_gains_by_it(
    kernel: Kernel, variant: str, shape: tuple[int, int, int, int], turned: bool
) -> None:
    networks, rows, inner, columns = shape
    left = numbers(0, networks, inner, rows).transpose(0, 2, 1) if turned else numbers(0, networks, rows, inner)
    right, out = numbers(1, networks, inner, columns), np.empty((networks, rows, columns), np.float32)
    left[0, 0, 0] = np.nan
    Products(kernel, [Term(matrices(left), matrices(right), matrices(out))], variant, rounded=True).make()
    assert np.isnan(out[0, 0]).all()

    factors = (rounded(left), rounded(right)) if variant == "amx" else (left.astype(np.float64), right)
    expected, unit = factors[0] @ factors[1], 1e-6 * (np.abs(factors[0]) @ np.abs(factors[1]) + 1.0)
    finite = np.isfinite(expected)
    assert finite.sum() == expected.size - columns
    assert (np.abs(out - expected)[finite] <= unit[finite]).all()


def rounded(array: Float32s) -> npt.NDArray[np.float64]:
    """To the nearest number of eight bits."""
    fraction, exponent = np.frexp(array.astype(np.float64))
    return np.asarray(np.ldexp(np.rint(fraction * 256.0) / 256.0, exponent))


def test_what_does_not_go_together_is_refused(kernel: Kernel) -> None:
    one, other = matrices(numbers(0, 2, 3, 4)), matrices(numbers(1, 2, 4, 5))
    out = matrices(numbers(2, 2, 3, 5))
    with pytest.raises(ValueError, match=r"right: shape \(2, 3, 4\), expected \(2, 4, 5\)"):
        Term(one, one, out)
    with pytest.raises(ValueError, match="columns must lie side by side"):
        Term(one, other, matrices(numbers(2, 2, 5, 3).transpose(0, 2, 1)))
    with pytest.raises(ValueError, match="applied: strides"):
        Term(one, other, out, "relu_slope", applied=matrices(numbers(3, 2, 3, 6)[..., :5]))
    with pytest.raises(ValueError, match="finish = 'tanh_slope': needs 'applied'"):
        Term(one, other, out, "tanh_slope")
    products = Products(kernel, [Term(one, other, out)])
    with pytest.raises(ValueError, match=r"left: shape \(2, 4, 5\), expected \(2, 3, 4\)"):
        products.set_left(0, other)
    with pytest.raises(ValueError, match=r"right: shape \(2, 3, 4\), expected \(2, 4, 5\)"):
        products.set_right(0, one)
    with pytest.raises(KernelError, match="no products with the instruction sets sse9 here"):
        Products(kernel, [Term(one, other, out)], "sse9")
