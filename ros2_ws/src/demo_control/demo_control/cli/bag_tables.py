"""Tables of what recordings say, for people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

_SHOWN_DIMENSIONS = 3
_SHOWN_CELLS = 2


def evaluation_table(report: dict[str, Any]) -> Table:
    """One recording."""
    verdict = "bit for bit the same" if report["bit_exact"] else f"{report['identical_actions']} the same"
    table = Table(title=escape(str(report["bag"])), show_header=False)
    table.add_row("robot", report["task"])
    changed = report["changed"]
    what = [f"{name} = {value}" for name, value in changed["settings"].items()] + ["bundle"] * changed["bundle"]
    table.add_row("changed", escape(", ".join(what)) or "nothing")
    table.add_row("commands", f"{report['actions']}, {verdict}")
    table.add_row("plans", f"{report['plans']}, {report['identical_plans']} the same")
    metrics = report["metrics"]
    for name in ("difference_rms", "difference_max"):
        largest = max((value for value in metrics[name] if value is not None), default=None)
        table.add_row(f"{name.replace('_', ' ')}, of the worst entry", _number(largest))
    for name in ("sources_recorded", "sources"):
        table.add_row(name.replace("_", " "), ", ".join(f"{count} {source}" for source, count in metrics[name].items()))
    _add_judgement(table, report)
    for name in ("command_period_ms", "command_age_ms", "plan_ms"):
        spread = report["timing"][name]
        if spread["p50"] is not None:
            table.add_row(f"{name.removesuffix('_ms').replace('_', ' ')} p50 / p99 / max", _milliseconds(spread))
    shares = (
        f"{report['wall_s']:.2f} s, of which reading {report['read_s']:.2f} s, planning {report['planning_s']:.2f} s; "
        f"judging took {report['judging_s']:.2f} s"
    )
    table.add_row("real-time factor", f"{report['real_time_factor']:.1f} ({shares})")
    for line in report["warnings"]:
        table.add_row("[yellow]note[/yellow]", escape(line))
    return table


def _add_judgement(table: Table, report: dict[str, Any]) -> None:
    """What the recording says of robot, model and corrections."""
    task, error = report["task_metrics"], report["model_error"]
    terms = sorted(task["cost_terms_per_second"].items(), key=lambda item: -(item[1] or 0.0))[:_SHOWN_DIMENSIONS]
    most = ", ".join(f"{name} {_number(value)}" for name, value in terms)
    table.add_row("cost per second", escape(f"{_number(task['cost_per_second'])} (most: {most})"))
    if task["success"] is not None:
        table.add_row("driver's verdict", "success" if task["success"] else "no success")
    relative, steps = error["relative"], error["horizon_steps"]
    table.add_row(
        "model error / no change",
        f"{_number(relative['one_step'])} after {error['step_s']:g} s, "
        f"{_number(relative['horizon'])} after {steps * error['step_s']:g} s",
    )
    calibrated = [(d["name"], d["horizon"]["z"]) for d in error["dimensions"] if d["horizon"]["z"] is not None]
    calibrated = sorted(calibrated, key=lambda pair: -pair[1])[:_SHOWN_DIMENSIONS]
    table.add_row(
        "error / predicted deviation", escape(", ".join(f"{name} {z:.2g}" for name, z in calibrated)) or "not known"
    )
    cells = [
        f"{cell['dimension']} {_number(cell['from'])} to {_number(cell['to'])}: {cell['factor']:.2g} times"
        for cell in error["worst"][:_SHOWN_CELLS]
    ]
    table.add_row("model worst at", escape("; ".join(cells)) or "not known")
    value = report["correction_value"]
    if value is not None and value["followed"]:
        bias = "bias not known" if value["bias"] is None else f"bias {_number(value['bias'])} taken off"
        table.add_row(
            "gain of followed plans",
            f"predicted {_number(value['predicted_gain_mean'])}, realised {_number(value['realised_gain_mean'])} "
            f"({bias}); came true {value['gain_came_true']:.0%} of {value['followed']}",
        )
    near = report["closeness"]
    table.add_row("command entries at a limit", _share(near["at_limit"]))
    table.add_row("observations beyond range", _share(near["observations"]["beyond_range"]))


def summary_table(robot: str, sums: dict[str, Any]) -> Table:
    """Many recordings of one robot."""
    exact = f"{sums['bit_exact']} the same to the bit"
    title = f"{robot}: {sums['bags']} recordings, {sums['recorded_s']:.0f} s, {exact}"
    if sums["incomplete"]:
        title += f", {sums['incomplete']} incomplete"
    table = Table("figure", "all", "5 %", "50 %", "95 %", "worst", title=escape(title))
    for figure in sums["figures"]:
        numbers = [_number(figure[name]) for name in ("all", "p5", "p50", "p95")]
        table.add_row(figure["text"], *numbers, escape(Path(figure["worst"]).name if figure["worst"] else "–"))
    return table


def comparison_table(report: dict[str, Any]) -> Table:
    """Two sides, figure by figure."""
    counts = [len(report[side]["bags"]) for side in ("a", "b")]
    title = f"{report['robot']}: A {counts[0]}, B {counts[1]} recordings; intervals over {report['units']}"
    table = Table("figure", "A", "B", "B - A", "95 % interval", "verdict", title=escape(title))
    colours = {"worse": "red", "better": "green"}
    for row in report["figures"]:
        interval = "–" if row["interval"] is None else " to ".join(map(_number, row["interval"]))
        colour = colours.get(row["verdict"]) if row["decides"] else "dim"
        table.add_row(
            row["text"], _number(row["a"]), _number(row["b"]), _number(row["difference"]), interval, row["verdict"],
            style=colour,
        )  # fmt: skip
    return table


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2%}"


def _milliseconds(spread: dict[str, float]) -> str:
    return f"{spread['p50']:.1f} / {spread['p99']:.1f} / {spread['max']:.1f} ms"
