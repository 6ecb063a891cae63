"""Which engine is used, and what is said when it is not the kernel."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from demo_control.bundle import Bundle, make_bundle
from demo_control.configuration import ConfigurationError
from demo_control.layer import DemoLayer, LayerSettings
from demo_control.onnx_graph import GraphBuilder
from demo_control.rollout import NativeEngine, OnnxEngine, RolloutShape, choose_engine
from demo_control.rollout.native import KernelError, matrix_unit
from demo_control.rollout.native import engine as engine_module
from demo_control.rollout.native.compiler import BLOCKS
from demo_control.rollout.native.library import Kernel, load_kernel, open_kernel
from demo_control.tasks import Task

from .conftest import make_task, network_bundle, quadratic, small_model

SHAPE = RolloutShape(3, average_members=False, with_policy=False, with_trajectory=False)


@pytest.fixture
def installed(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel is there, even where the package was not installed with it."""
    monkeypatch.setattr(engine_module, "load_kernel", lambda: kernel)


@pytest.fixture
def not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Kernel:
        raise KernelError("the kernel was not built at installation")

    monkeypatch.setattr(engine_module, "load_kernel", fail)


def unknown_operator_bundle(task: Task) -> Bundle:
    graph = GraphBuilder("dynamics")
    x, u = graph.input("observation", (1, "batch", 2)), graph.input("action", (1, "batch", 1))
    graph.output("next_observation", graph.node("Acosh", graph.node("Add", x, graph.constant(4.0))), (1, "batch", 2))
    graph.output("log_variance", graph.node("Mul", x, u), (1, "batch", 2))
    policy = small_model("policy", task, "action", 1, "Tanh", 0)
    return make_bundle(task, policy=policy, dynamics=graph.build())


@pytest.fixture
def task() -> Task:
    return make_task(2, 1, {"squares": quadratic})


@pytest.mark.usefixtures("installed")
def test_auto_is_native_where_it_can_be(task: Task, kernel: Kernel) -> None:
    choice = choose_engine(task, network_bundle(task, [4], "Tanh", 2))
    (vectors, *_) = [variant for variant in kernel.variants if variant != matrix_unit.VARIANT]
    assert str(choice) == f"native: compiled kernel for {vectors}"
    assert isinstance(choice.make(SHAPE), NativeEngine)


@pytest.mark.usefixtures("not_installed")
def test_without_kernel_it_is_onnx_and_says_why(task: Task) -> None:
    bundle = network_bundle(task, [4], "Tanh", 2)
    choice = choose_engine(task, bundle)
    assert str(choice) == "onnx: native is not possible: the kernel was not built at installation"
    assert isinstance(choice.make(SHAPE), OnnxEngine)
    with pytest.raises(ConfigurationError, match="engine = 'native': the kernel was not built at installation"):
        choose_engine(task, bundle, "native")


@pytest.mark.usefixtures("installed")
def test_an_unknown_operator_is_named(task: Task) -> None:
    bundle = unknown_operator_bundle(task)
    assert choose_engine(task, bundle).reason == (
        "native is not possible: dynamics: operator 'Acosh': not known to the kernel"
    )
    with pytest.raises(ConfigurationError, match="operator 'Acosh'"):
        choose_engine(task, bundle, "native")


@pytest.mark.parametrize("engine", [NativeEngine, OnnxEngine])
@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x, u, xp: 1.0, "1.0, must depend on observation or action"),
        (lambda x, u, xp: x["x9"], "KeyError: 'x9'"),
        (lambda x, u, xp: xp.tan(x["x0"]), "AttributeError: .*'tan'"),
    ],
)
def test_a_cost_term_that_cannot_be_drawn_is_named(
    kernel: Kernel, engine: type[NativeEngine | OnnxEngine], function: object, words: str
) -> None:
    task = make_task(2, 1, {"squares": quadratic, "odd": function})  # type: ignore[dict-item]
    bundle = network_bundle(task, [4], "Tanh", 1)
    known = {"kernel": kernel} if engine is NativeEngine else {}
    with pytest.raises(ConfigurationError, match=f"cost term 'odd': {words}"):
        engine(task, bundle, SHAPE, **known)  # type: ignore[arg-type]


@pytest.mark.usefixtures("installed")
def test_onnx_can_be_asked_for(task: Task) -> None:
    choice = choose_engine(task, network_bundle(task, [4], "Tanh", 1), "onnx")
    assert str(choice) == "onnx: as set"


def test_an_unknown_engine_is_refused(task: Task) -> None:
    with pytest.raises(ConfigurationError, match="engine = 'abacus': must be one of auto, native, onnx"):
        choose_engine(task, network_bundle(task, [4], "Tanh", 1), "abacus")


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda g, x: g.node("MatMul", x, g.node("Transpose", x, perm=[1, 0])), "second factor is not constant"),
        (lambda g, x: g.node("Concat", x, x, axis=0), "policy: operator 'Concat': along axis 0, only along the last"),
        (lambda g, x: g.node("ReduceSum", x, keepdims=0), "operator 'ReduceSum': only over the last axis"),
        (lambda g, x: g.node("Add", x, g.constant(np.ones((3, 2)))), r"shape \(3, 2\), one value per sample"),
        (lambda g, x: g.node("Transpose", x, perm=[1, 0]), "operator 'Transpose': not known"),
        (
            lambda g, x: g.node("Pow", x, g.node("Div", *(g.constant(number, np.int64) for number in (7, 2)))),
            "operator 'Div': a constant of the type int64",
        ),
        (
            lambda g, x: g.node("MatMul", g.node("Gather", x, g.constant([], np.int64), axis=1), g.constant([[]])),
            "operator 'Gather': an operand without numbers",
        ),
        (
            lambda g, x: g.node(
                "MatMul",
                *g.split_node("Split", [x, g.constant([2, 0], np.int64)], 2, axis=1)[1:],
                g.constant(np.ones((0, 1))),
            ),
            "operator 'Dense': an operand without numbers",
        ),
    ],
)
def test_uses_that_the_kernel_does_not_know_are_named(task: Task, kernel: Kernel, build: object, words: str) -> None:
    bundle = network_bundle(task, [4], "Tanh", 1)
    graph = GraphBuilder("policy")
    graph.output("action", build(graph, graph.input("observation", ("batch", 2))), ("batch", 1))  # type: ignore[operator]
    object.__setattr__(bundle, "policy", graph.build())
    with pytest.raises(ValueError, match=words):
        NativeEngine(task, bundle, RolloutShape(1, False, True, False), kernel=kernel)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("engine", ["auto", "native", "onnx"])
def test_the_layer_plans_with_the_engine_that_is_set(task: Task, engine: str) -> None:
    settings = LayerSettings.for_task(task, {"engine": engine, "num_samples": 32, "horizon": 4})
    layer = DemoLayer(task, network_bundle(task, [6], "Tanh", 2), settings, seed=0)
    assert layer.engine.startswith("onnx" if engine == "onnx" else "native")
    layer.correct(0, np.zeros(1))
    assert np.isfinite(layer.plan(0, np.zeros(2)).plan_costs).all()


def test_engines_make_the_same_plans(task: Task, kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "load_kernel", lambda: kernel)
    bundle = network_bundle(task, [6], "Silu", 2)
    found = []
    for engine in ("native", "onnx"):
        layer = DemoLayer(task, bundle, LayerSettings.for_task(task, {"engine": engine, "num_samples": 64}), seed=3)
        layer.correct(0, np.zeros(1))
        report = layer.plan(0, np.array([0.4, -0.3]))
        found.append(np.array([*report.plan_costs, *report.nominal_costs, report.ensemble_disagreement]))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)


def test_a_library_that_is_missing_or_broken(tmp_path: Path) -> None:
    with pytest.raises(KernelError, match="was not built at installation; 'python -m"):
        open_kernel(tmp_path / "_kernel.so")
    (tmp_path / "_kernel.so").write_text("no library")
    with pytest.raises(KernelError, match=r"_kernel.so cannot be loaded"):
        open_kernel(tmp_path / "_kernel.so")


def test_a_library_of_other_sources(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("demo_control.rollout.native.library.sources_hash", lambda: "other")
    with pytest.raises(KernelError, match="was built from other sources; 'python -m"):
        open_kernel(kernel.path)
    load_kernel.cache_clear()


def test_an_instruction_set_that_is_not_there(task: Task, kernel: Kernel) -> None:
    with pytest.raises(KernelError, match="no instruction set 'abacus' here"):
        NativeEngine(task, network_bundle(task, [4], "Tanh", 1), SHAPE, kernel=kernel, variant="abacus")


def test_the_matrix_unit_is_for_wide_networks_and_many_samples(kernel: Kernel) -> None:
    if kernel.variants[0] != matrix_unit.VARIANT:
        pytest.skip("no matrix unit here")
    task = make_task(24, 20, {"squares": quadratic})

    def variant(hidden: list[int], shape: RolloutShape) -> str:
        return NativeEngine(task, network_bundle(task, hidden, "Relu", 2), shape, kernel=kernel).variant

    assert variant([256, 256], SHAPE) == matrix_unit.VARIANT
    assert variant([32, 32], SHAPE) == kernel.variants[1]
    assert variant([256, 256], replace(SHAPE, average_members=True)) == kernel.variants[1]


@pytest.mark.parametrize("activation", matrix_unit.ACTIVATION_CYCLES)
def test_the_matrix_unit_pays_for_the_wider_layers(activation: str) -> None:
    """In what is estimated; what it takes is measured by benchmarks/planner_speed.py."""
    narrow = [
        matrix_unit.pays_for_layer(inputs, outputs, activation) for inputs, outputs in [(6, 64), (256, 1), (1, 1)]
    ]
    assert not any(narrow)
    assert matrix_unit.pays_for_layer(256, 256, activation)
    shares = [
        wide / vectors for vectors, wide in (matrix_unit.tape_cycles([(n, n, activation)], [n]) for n in (16, 64, 256))
    ]
    assert shares[0] > shares[1] > shares[2]
    assert shares[0] > 1.0
    assert shares[2] < matrix_unit.WORTH


def test_rows_lie_as_the_kernel_has_them() -> None:
    """The names of kernel/program.hpp's struct, in its order."""
    header = Path(engine_module.__file__).parent / "kernel" / "program.hpp"
    struct = header.read_text().split("struct Rows {")[1].split("};")[0].replace("int32_t", "").replace(";", ",")
    names = [name.strip() for name in struct.split(",") if name.strip()]
    assert names == [*BLOCKS, "constants"]
