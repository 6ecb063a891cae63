"""A model adapted to recordings: what is used of them, what comes out, what is refused; nothing is by chance."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch")

from demo_control.bags.errors import BagError  # noqa: E402
from demo_control.bags.motion import read_motion  # noqa: E402
from demo_control.bags.stretches import Stretch  # noqa: E402
from demo_control.bags.usable import HELD_ENTRY, OTHER_PROCESS, OUT_OF_RANGE, usable  # noqa: E402
from demo_control.bundle import Bundle, BundleError, default_bundle, load_bundle  # noqa: E402
from demo_control.cli.main import app  # noqa: E402
from demo_control.configuration import ConfigurationError  # noqa: E402
from demo_control.learning.dataset import Dataset  # noqa: E402
from demo_control.learning.ensemble import Ensemble, NetworkSettings, Scaling  # noqa: E402
from demo_control.learning.episodes import Episode  # noqa: E402
from demo_control.learning.export import dynamics_model  # noqa: E402
from demo_control.learning.imported import imported_ensemble  # noqa: E402
from demo_control.learning.old_data import data_of_run, recorded_settings  # noqa: E402
from demo_control.learning.refit_data import recorded_episodes, shared_out  # noqa: E402
from demo_control.learning.refit_settings import RefitSettings  # noqa: E402
from demo_control.learning.rehearsal import change_factors, rehearsed  # noqa: E402
from demo_control.tasks import Task, load_task  # noqa: E402

from .recorded_bag import mcap_of, record_cartpole  # noqa: E402

pytestmark = [
    pytest.mark.train,
    pytest.mark.skipif(not default_bundle("cartpole").is_dir(), reason="no bundle of the cart-pole is shipped"),
]

FAST = ["replay_share=0", "steps=80", "batch_size=64", "evaluation_interval=20"]
LONG_POLE = {"pole_length": 1.6}


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task("cartpole")


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three recordings of a longer pole."""
    folder = tmp_path_factory.mktemp("long")
    return [record_cartpole(folder / f"run{seed}", 300, seed=seed, plant=LONG_POLE, latest=1) for seed in range(3)]


def refit(bags: Sequence[Path], out: Path, *more: str, settings: Sequence[str] = FAST) -> tuple[int, str, Any]:
    """Exit code, what was said, and the JSON."""
    arguments = ["bag", "refit", *map(str, bags), "--bundle", str(default_bundle("cartpole")), "--out", str(out), *more]
    for setting in settings:
        arguments += ["--set", setting]
    result = CliRunner().invoke(app, [*arguments, "--json", str(out.with_suffix(".json"))])
    file = out.with_suffix(".json")
    return result.exit_code, result.output, json.loads(file.read_text()) if file.exists() else None


@pytest.fixture(scope="module")
def refitted(bags: list[Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    out = tmp_path_factory.mktemp("refitted") / "new"
    code, said, report = refit(bags, out)
    assert code == 0, said
    return out, report


def test_the_new_model_is_better_on_what_was_held_out(refitted: tuple[Path, Any], task: Task) -> None:
    out, report = refitted
    assert report["better"] is True
    assert report["horizon_error_ratio"] < 0.6
    assert report["interval"][0] <= report["horizon_error_ratio"] <= report["interval"][1] < 1.0
    assert len(report["lineage"]["held_out"]) == 1
    assert load_bundle(out, task).contract.metrics["refit"]["horizon_error_ratio"] == report["horizon_error_ratio"]


def test_the_bundle_says_where_it_comes_from_and_keeps_the_policy(refitted: tuple[Path, Any], task: Task) -> None:
    out, report = refitted
    old, new = load_bundle(default_bundle("cartpole"), task), load_bundle(out, task)
    assert new.contract.files["policy.onnx"] == old.contract.files["policy.onnx"]
    assert new.contract.files["dynamics.onnx"] != old.contract.files["dynamics.onnx"]
    same = {"files", "provenance", "metrics"}
    for field in dataclasses.fields(old.contract):
        if field.name not in same:
            assert getattr(new.contract, field.name) == getattr(old.contract, field.name), field.name
    lineage = new.contract.provenance
    assert lineage["parent"]["sha256"] == old.sha256
    assert [entry["name"] for entry in lineage["recordings"]] == ["run0", "run1", "run2"]
    assert all(len(entry["sha256"]) == 64 for entry in lineage["recordings"])
    assert lineage["settings"]["steps"] == 80
    card = (out / "README.md").read_text()
    assert old.sha256 in card
    assert str(out.parent) not in card + (out / "contract.json").read_text()
    assert recorded_settings(lineage) == recorded_settings(old.contract.provenance) != {}
    assert report["lineage"]["bundle_sha256"] == new.sha256


def test_the_same_recordings_and_seed_give_the_same_files(
    refitted: tuple[Path, Any], bags: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    revision = refitted[1]["lineage"]["git_revision"]
    monkeypatch.setattr("demo_control.learning.refit.git_revision", lambda: revision)
    assert refit(bags, tmp_path / "again")[0] == 0
    for name in ("contract.json", "dynamics.onnx", "policy.onnx", "README.md"):
        assert (tmp_path / "again" / name).read_bytes() == (refitted[0] / name).read_bytes(), name


def test_one_recording_is_held_out_by_blocks_of_time(tmp_path: Path) -> None:
    bag = record_cartpole(tmp_path / "bag", 850, plant=LONG_POLE, latest=1)
    code, said, report = refit([bag], tmp_path / "new", settings=[*FAST, "steps=1", "learning_rate=1e-9"])
    assert code == 1, said
    assert report["lineage"]["held_out"].startswith("blocks of 2.10 s")


def test_what_is_missing_in_a_recording_is_told_and_stays_with_the_bundle(bags: list[Path], tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(bags[0], damaged)
    file = mcap_of(damaged)
    file.write_bytes(file.read_bytes()[:-2000])
    code, said, report = refit([damaged, *bags[1:]], tmp_path / "new")

    assert code == 0, said
    text = "the file has no whole index: it was not ended in order, or its end is damaged"
    assert f"damaged: {text}" in said
    assert [text in entry["warnings"] for entry in report["lineage"]["recordings"]] == [True, False, False]
    provenance = load_bundle(tmp_path / "new").contract.provenance
    assert text in provenance["recordings"][0]["warnings"]
    assert text in (tmp_path / "new" / "README.md").read_text()


def test_a_model_that_is_not_better_is_not_written(bags: list[Path], tmp_path: Path) -> None:
    code, said, report = refit(bags, tmp_path / "new", settings=[*FAST, "steps=1", "learning_rate=1e-9"])
    assert code == 1
    assert report["better"] is False
    assert "No bundle" in said
    assert not (tmp_path / "new").exists()


def test_old_data_are_replayed(bags: list[Path], tmp_path: Path, task: Task) -> None:
    folder = tmp_path / "run" / "checkpoints"
    motion = read_motion(bags[0], task, default_bundle("cartpole"))
    Dataset(recorded_episodes(task, motion.stretches), ()).save(folder / "data-first.npz")
    settings = [*FAST, "replay_share=0.5"]
    code, said, report = refit(bags, tmp_path / "new", "--data", str(folder.parent), settings=settings)
    assert code == 0, said
    assert report["lineage"]["replayed_transitions"] == 299
    assert "run's folder" in report["lineage"]["replayed"]


def test_what_cannot_be_is_refused_in_one_line(bags: list[Path], tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    shutil.copytree(default_bundle("cartpole"), taken)
    short = record_cartpole(tmp_path / "short", 6)
    cases = {
        "no such bag": refit([tmp_path / "nowhere"], tmp_path / "a"),
        "given twice": refit([bags[0], bags[0]], tmp_path / "b"),
        "holds a bundle already": refit(bags, taken),
        "holds other folders (short, taken)": refit(bags, tmp_path),
        f"{taken / 'README.md'}: Not a directory": refit(bags, taken / "README.md" / "out"),
        "expected a training run's folder": refit(
            bags, tmp_path / "c", "--data", str(tmp_path), settings=[*FAST, "replay_share=0.1"]
        ),
        "too little": refit([short], tmp_path / "d"),
        "must be": refit(bags, tmp_path / "e", settings=["steps=0"]),
        "unknown": refit(bags, tmp_path / "f", settings=["stepps=3"]),
    }
    for text, (code, said, report) in cases.items():
        assert code == 2, text
        assert text in said.replace("\n", " "), said
        assert len(said.strip().splitlines()) <= 2, said
        assert report is None
    assert not list(tmp_path.glob("[a-f]"))


@pytest.mark.skipif(not default_bundle("stoch2").is_dir(), reason="no bundle of Stoch2 is shipped")
def test_a_recording_of_another_robot_is_refused(bags: list[Path]) -> None:
    with pytest.raises(BagError, match="recorded of 'cartpole', the bundle is for 'stoch2'"):
        read_motion(bags[0], load_task("stoch2"), default_bundle("stoch2"))


def test_the_data_of_another_robot_are_refused(tmp_path: Path, task: Task) -> None:
    Dataset((Episode(np.zeros((4, 3)), np.zeros((3, 1))),), ()).save(tmp_path / "checkpoints" / "data-first.npz")
    with pytest.raises(ConfigurationError, match="another robot"):
        data_of_run(task, tmp_path)


def test_an_ensemble_comes_back_from_its_graph_in_any_units(task: Task) -> None:
    generator = torch.Generator().manual_seed(0)
    rng = np.random.default_rng(0)

    def scaling() -> Scaling:
        return Scaling(rng.normal(size=5), rng.uniform(0.5, 2, 5), 0.1 * rng.normal(size=5), rng.uniform(0.5, 2, 5))

    for activation in ("silu", "tanh"):
        settings = NetworkSettings(num_members=3, num_elites=2, hidden_layers=3, hidden_units=8, activation=activation)
        ensemble = Ensemble.initial(task, settings, scaling(), generator)
        back = imported_ensemble(task, dynamics_model(ensemble), scaling())
        assert (back.settings.hidden_layers, back.settings.activation) == (3, activation)
        x, u = torch.randn((3, 20, 5), generator=generator), torch.randn((3, 20, 1), generator=generator)
        for expected, found in zip(ensemble.predict(x, u), back.predict(x, u), strict=True):
            np.testing.assert_allclose(found.detach(), expected.detach(), atol=1e-4)


def sure_ensemble(task: Task) -> Ensemble:
    """Random members that agree, and are sure of what they say."""
    one = np.ones(5)
    settings = NetworkSettings(num_members=2, num_elites=2, hidden_units=8)
    scaling = Scaling(0.0 * one, one, 0.0 * one, 0.01 * one)
    ensemble = Ensemble.initial(task, settings, scaling, torch.Generator().manual_seed(0))
    for name, parameter in ensemble.parameters.items():
        parameter[1] = parameter[0]
        if name in ("lower", "upper"):
            parameter[:] = -30.0
    return ensemble


def test_what_the_recordings_make_of_the_old_models_predictions(task: Task) -> None:
    """A robot whose pole turns by 0.65 of what the model says."""
    ensemble, rng = sure_ensemble(task), np.random.default_rng(0)
    x, u = rng.normal(size=(200, 5)), rng.normal(size=(200, 1))
    x[:, 2:4] /= np.linalg.norm(x[:, 2:4], axis=1, keepdims=True)
    tensors = [torch.tensor(np.tile(v, (2, 1, 1)), dtype=torch.float32) for v in (x, u)]
    said = (ensemble.standardised(*tensors)[0] * ensemble.output_scale)[0].numpy()
    factors = np.array([1.0, 1.0, 1.0, 1.0, 0.65])
    episodes = [Episode(np.stack([a, a + factors * b]), c[None]) for a, b, c in zip(x, said, u, strict=True)]
    found = change_factors(ensemble, episodes, adapted=True)
    np.testing.assert_allclose(found, factors, atol=0.02)  # a twentieth of the way to 1 for the prior
    np.testing.assert_array_equal(change_factors(ensemble, episodes, adapted=False), 1.0)

    first, again = (rehearsed(ensemble, episodes, factors, 1, np.random.default_rng(1)) for _ in range(2))
    assert len(first) == 200
    for one, other, old in zip(first, again, episodes, strict=True):
        np.testing.assert_array_equal(one.observations, other.observations)
        np.testing.assert_allclose(one.observations[1, [0, 1, 4]], old.observations[1, [0, 1, 4]], atol=1e-4)
        assert np.linalg.norm(one.observations[1, 2:4]) == pytest.approx(1.0, abs=1e-5)


def test_what_is_rehearsed_unless_told_otherwise() -> None:
    """Measured: docs/refit.md."""
    assert RefitSettings().resolved(adapts=True).replay_share == 0.0
    assert RefitSettings().resolved(adapts=False).replay_share == 0.2
    assert RefitSettings(replay_share=0.4).resolved(adapts=True).replay_share == 0.4


def test_a_graph_of_another_kind_is_refused(linear_task: Task, linear_bundle: Bundle) -> None:
    one = np.ones(3)
    with pytest.raises(BundleError, match="only models that 'democtl train' has exported"):
        imported_ensemble(linear_task, linear_bundle.dynamics, Scaling(0 * one, one, one[:2], one[:2]))


def stretch(ticks: int, task: Task, start: int = 0) -> Stretch:
    """A walk at rest whose clock runs; each row its own."""
    names = [quantity.name for quantity in task.observation]
    values = np.zeros((ticks, len(names)))
    phase = 2.0 * np.pi * np.arange(start, start + ticks) * task.control_period_s / 0.4
    values[:, names.index("phase_sine")], values[:, names.index("phase_cosine")] = np.sin(phase), np.cos(phase)
    values[:, names.index("height")] = 0.22
    for name in ("forward_error", "lateral_error", "yaw_error"):
        values[:, names.index(name)] = 1e-4 * np.arange(ticks)
    return Stretch(0, values, np.zeros((ticks, 8)))


def test_only_the_process_that_the_model_is_of_is_used() -> None:
    walk = load_task("stoch2")
    names = [quantity.name for quantity in walk.observation]
    moving = stretch(100, walk)
    kept, left_out = usable(walk, [moving])
    assert not left_out
    assert np.isfinite(kept[0].controls).all()

    stands = dataclasses.replace(moving, observations=moving.observations.copy())
    for name in ("phase_sine", "phase_cosine"):
        stands.observations[:50, names.index(name)] = float(name == "phase_cosine")
    stands.observations[60:66, names.index("forward_error")] = 0.04
    stands.observations[80, names.index("roll")] = 9.0
    kept, left_out = usable(walk, [stands])
    assert set(left_out) == {OTHER_PROCESS, HELD_ENTRY, OUT_OF_RANGE}
    assert (left_out[HELD_ENTRY], left_out[OUT_OF_RANGE]) == (5, 1)
    assert np.isnan(kept[0].controls[:40]).all()
    assert np.isfinite(kept[0].controls[70:79]).all()


def test_what_is_held_out_is_nowhere_else(bags: list[Path], task: Task) -> None:
    motions = [read_motion(bag, task, default_bundle("cartpole")) for bag in bags]
    long = dataclasses.replace(
        motions[0], stretches=[Stretch(0, np.zeros((1500, 5)), np.zeros((1500, 1)))], seconds=30.0
    )
    one = shared_out(task, [long], 35, np.random.default_rng(0))
    assert one.judging_bags == []
    rows = {name: _ticks(getattr(one, name)) for name in ("training", "stopping", "judging")}
    training = set().union(*rows["training"])
    held_out = [*rows["stopping"], *rows["judging"]]
    assert len(rows["judging"]) > 2
    assert rows["stopping"]
    assert sum(map(len, held_out)) + len(training) + 35 * len(held_out) == 1500
    for part in held_out:
        assert not part & training
        assert not set(range(min(part) - 35, min(part))) & training
    several = shared_out(task, motions, 35, np.random.default_rng(0))
    assert len(several.judging_bags) == 1
    assert sum(map(len, several.judging)) == 300


def _ticks(stretches: Sequence[Stretch]) -> list[set[int]]:
    return [set(range(s.first_sequence, s.first_sequence + len(s))) for s in stretches]


def test_transitions_follow_one_another_and_skip_what_is_not_known(task: Task) -> None:
    observations = np.random.default_rng(0).normal(size=(40, 5))
    controls = np.arange(40.0)[:, None]
    controls[20] = np.nan
    episodes = recorded_episodes(task, [Stretch(0, observations, controls)])
    assert [len(episode) for episode in episodes] == [20, 18]
    np.testing.assert_array_equal(episodes[1].observations, observations[21:])
    np.testing.assert_array_equal(episodes[1].actions[:, 0], np.arange(21.0, 39.0))
