"""``democtl bench learning``: what is compared is the same work, and what is reported is what was measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import learning_figures
import learning_measurement
import pytest
from learning_contenders import OURS, Case, Contender
from learning_report import BARS, judged, tables

from demo_control.configuration import ConfigurationError

ROOT = Path(__file__).parents[2]


@pytest.mark.train
def test_the_ensemble_fits_the_likelihood_that_mbrl_fits() -> None:
    """Without a weight: the gradient by the mean is the error by the variance, as of a plain Gaussian likelihood."""
    torch = pytest.importorskip("torch")
    from learning_ensemble import BATCH, ensemble_fitter  # noqa: PLC0415 - needs PyTorch

    fitter, examples = ensemble_fitter()
    outputs, count = examples.outputs[None, :BATCH], examples.outputs.shape[1]
    run = fitter.networks.forward(examples.inputs[None, :BATCH])
    gradient = fitter._gradient(run, outputs.expand(fitter.networks.num_networks, -1, -1))
    output = run.sums[-1].clone().requires_grad_()
    mean, raw = output[..., :count], output[..., count:]
    low, high = -10.0, 1.0
    log_variance = low + (high - low) * torch.sigmoid(raw)
    loss = 0.5 * ((mean - outputs).square() / log_variance.exp() + log_variance).mean(dim=(1, 2)).sum()
    loss.backward()
    torch.testing.assert_close(gradient, output.grad)


def test_bars_are_judged_by_how_many_times_faster() -> None:
    report = {
        "sac_updates_per_s": {OURS: 300.0, "stable_baselines3": 100.0},
        "ensemble_epoch_s": {OURS: 2.0, "mbrl": 1.0},
    }
    found = {bar["figure"]: (bar["value"], bar["holds"]) for bar in judged(report)}
    assert found == {BARS[0].text: (3.0, True), BARS[1].text: (0.5, False)}


def test_contenders_take_turns_and_figures_are_medians(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[str] = []
    closed: list[bool] = []

    def contender(name: str) -> Contender:
        def run() -> float:
            turns.append(name)
            return 2.0

        return Contender(name, run)

    case = Case([contender(OURS), contender("mbrl")], {"x": "how"}, {}, lambda: closed.append(True))
    monkeypatch.setattr(learning_measurement, "CASES", {"ensemble": lambda: case})
    told: list[tuple[str, int, int]] = []
    report = learning_measurement.measure(["ensemble"], 5, lambda *what: told.append(what))
    assert sorted(turns) == ["mbrl"] * 6 + [OURS] * 6  # once before, then five rounds
    assert all(sorted(turns[i : i + 2]) == sorted([OURS, "mbrl"]) for i in range(0, 12, 2))
    assert told[0] == ("ensemble", 0, 5)
    assert told[-1] == ("ensemble", 5, 5)
    assert closed == [True]
    assert set(report["ensemble_epoch_s"]) == {OURS, "mbrl"}
    assert report["absent"] == {"x": "how"}
    json.dumps(report, allow_nan=False)
    assert len(list(tables(report))) == 2


def test_unknown_cases_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="case = 'sax': must be one of sac, ensemble, environments"):
        learning_measurement.measure(["sax"], 1, lambda *_: None)


def test_the_committed_figures_have_their_table_and_their_page(tmp_path: Path) -> None:
    file = ROOT / "docs" / "experiments" / "learning_speed.json"
    report: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    assert [bar["figure"] for bar in report["bars"]] == [bar.text for bar in BARS]
    copy = tmp_path / file.name
    copy.write_bytes(file.read_bytes())
    learning_figures.command(copy)
    table = (tmp_path / "learning_speed_table.md").read_text(encoding="utf-8")
    assert table == file.with_name("learning_speed_table.md").read_text(encoding="utf-8")
    assert (tmp_path / "learning_speed.png").stat().st_size > 10_000
    page = (ROOT / "docs" / "learning_speed.md").read_text(encoding="utf-8")
    assert all(line in page for line in table.splitlines())
