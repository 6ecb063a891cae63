"""The problems of the study."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

from demo_control import layer, mpc, rollout
from demo_control.bundle import Bundle, default_bundle, load_bundle
from demo_control.configuration import ConfigurationError, Scalar
from demo_control.layer import LayerSettings
from demo_control.mpc import PlannerSettings
from demo_control.tasks import load_task
from samples import arm, cartpole, closed_loop, equations, obstacles, stoch2
from samples.closed_loop import Outcome
from stoch2_sim import robots

Runner = Callable[[PlannerSettings | None, int, int], Outcome]
"""Maps (settings or None for the policy alone, number of seeds, seed) to what came of it."""


@dataclass(frozen=True)
class Problem:
    """One problem and what is the same in it for all ways of planning.

    Attributes:
        name: For the command line and the tables.
        title: For figures.
        success: The criterion.
        cost: What the cost is.
        run: Runs one episode per seed.
        settings: Horizon, terminal weight and spread of the noise.
        sources: The modules that define it.
        task: Name of the task whose bundle and settings are shipped, or ''.
        learned: Whether the planner uses that bundle's model.
        seconds: About how long 24 episodes take on one core, and how much each sample of a plan adds; for forecasts.
    """

    name: str
    title: str
    success: str
    cost: str
    run: Runner
    settings: Mapping[str, Scalar]
    sources: Sequence[ModuleType]
    task: str = ""
    learned: bool = False
    seconds: tuple[float, float] = (0.5, 0.02)

    @property
    def members(self) -> int:
        """Members of the model: the samples of a mirror step are shared out evenly among them."""
        return _bundle(self.task).contract.members if self.learned else 1

    @property
    def digest(self) -> str:
        """Stands for all that defines the problem and its plans: the bundle, and the code."""
        bundle = _bundle(self.task).sha256 if self.task else ""
        return "\n".join([bundle, _code(), *(_source(module) for module in (closed_loop, *self.sources))])

    def planner_settings(self, settings: Mapping[str, Scalar], samples: int) -> PlannerSettings | None:
        """The planner's settings for a number of rollouts per plan, which its mirror steps share.

        Args:
            settings: The method's; with a learned model, the task's own where they say nothing.
            samples: At most so many in all.

        Returns:
            None where a mirror step would have less than two samples, of which the first is not drawn, or less than
            one per member of the model.
        """
        merged = {**settings, **self.settings}
        whole = LayerSettings.for_task(load_task(self.task), merged) if self.learned else _plain(merged)
        part = self.members if whole.ensemble == "split" else 1
        for count in range(samples // part * part, 0, -part):
            steps = self._samples(whole, count)
            if steps and min(steps) >= 2 and self._rollouts(whole, count) <= samples:
                return type(whole).from_mapping({"num_samples": count}, base=whole)
        return None

    def rollouts(self, settings: PlannerSettings) -> int:
        """How many rollouts of the model a plan takes: a sample that meets all members is one for each."""
        return self._rollouts(settings, settings.num_samples)

    def _rollouts(self, settings: PlannerSettings, num_samples: int) -> int:
        each = 1 if settings.ensemble == "split" else self.members
        return each * sum(self._samples(settings, num_samples))

    def _samples(self, settings: PlannerSettings, num_samples: int) -> list[int]:
        """Samples of each mirror step, as the planner has them."""
        part = self.members if settings.ensemble == "split" else 1
        wanted = [num_samples / settings.sample_decay**step for step in range(settings.mirror_steps)]
        return [max(round(samples / part), 1) * part for samples in wanted]


@cache
def _bundle(task: str) -> Bundle:
    return load_bundle(default_bundle(task))


@cache
def _code() -> str:
    """Stands for the code of planner, engines, layer and robots: other noise or other physics are other results."""
    digest = hashlib.sha256()
    for package in (mpc, rollout, layer, robots):
        for folder in map(Path, package.__path__):
            for path in sorted(folder.rglob("*.[pch]*")):
                if path.suffix in {".py", ".cpp", ".hpp"}:
                    digest.update(path.read_bytes())
    return digest.hexdigest()


@cache
def _source(module: ModuleType) -> str:
    return inspect.getsource(module)


def _plain(values: Mapping[str, Scalar]) -> PlannerSettings:
    return PlannerSettings.from_mapping(values)


def _shipped(task: str) -> dict[str, Scalar]:
    """What a task's own settings say where the problem decides."""
    settings = LayerSettings.for_task(load_task(task))
    return {name: getattr(settings, name) for name in ("horizon", "terminal_weight", "noise_standard_deviation")}


_STAGE_COST = "stage costs of the task, summed"

PROBLEMS: Mapping[str, Problem] = {
    problem.name: problem
    for problem in (
        Problem(
            "cartpole_true", "Cart-pole, true model",
            f"pole within 12° of upright throughout the last {cartpole.HOLD_S:g} s of {cartpole.EPISODE_S:g} s, "
            "cart on the rail", _STAGE_COST, cartpole.run_true,
            {"horizon": 40, "terminal_weight": 1.0, "noise_standard_deviation": 0.6}, (cartpole,), "cartpole",
            seconds=(2.0, 0.033),
        ),
        Problem(
            "cartpole_learned", "Cart-pole, learned model",
            f"pole within 12° of upright throughout the last {cartpole.HOLD_S:g} s of {cartpole.EPISODE_S:g} s, "
            "cart on the rail", _STAGE_COST, cartpole.run_learned, _shipped("cartpole"), (cartpole,), "cartpole",
            learned=True, seconds=(0.6, 0.016),
        ),
        Problem(
            "stoch2", "Stoch2, learned model", "no fall in 2.5 s on a slope with pushes, payload and weak motors",
            "posture, heading, path and speed at every tick, summed; a fall costs 500", stoch2.run, _shipped("stoch2"),
            (stoch2,), "stoch2", learned=True, seconds=(4.0, 0.01),
        ),
        Problem(
            "arm", "Two-link arm, true model",
            f"hand within {arm.NEAR_M:g} m of its target throughout the last {arm.HOLD_S:g} s of {arm.EPISODE_S:g} s",
            _STAGE_COST, arm.run, {"horizon": 15, "terminal_weight": 3.0, "noise_standard_deviation": 0.6},
            (arm, equations), seconds=(0.6, 0.016),
        ),
        Problem(
            "obstacles", "Point among obstacles, true model",
            f"within {obstacles.NEAR_M:g} m of the goal throughout the last {obstacles.HOLD_S:g} s of "
            f"{obstacles.EPISODE_S:g} s, no collision", _STAGE_COST, obstacles.run,
            {"horizon": 25, "terminal_weight": 1.0, "noise_standard_deviation": 0.6}, (obstacles, equations),
            seconds=(0.2, 0.013),
        ),
    )
}  # fmt: skip
"""By name, in the order of the tables."""


def chosen(names: Sequence[str], known: Mapping[str, object], what: str) -> list[str]:
    """The names, or all that are known if none is given, in the order in which they are known.

    Raises:
        ConfigurationError: An unknown name.
    """
    for name in names:
        if name not in known:
            raise ConfigurationError(f"{what} = '{name}': must be one of {', '.join(known)}")
    return [name for name in known if not names or name in names]
