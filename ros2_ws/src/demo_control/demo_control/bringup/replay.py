"""The bring-up 'replay': the live nodes on a recording's topics. Made of what the recording says; knows no robot."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from demo_control.bags.bundles import find_bundle
from demo_control.bags.errors import BagError
from demo_control.bags.metadata import PARAMETERS_RECORD
from demo_control.bags.player import COMMAND, NOMINAL, OBSERVATION, Survey, survey
from demo_control.bags.reader import Bag
from demo_control.bringup.controllers import controllers
from demo_control.bringup.description import (
    BringUp,
    BringUpArguments,
    NodeDescription,
    Recipe,
    recorder_of,
    with_parameters_file,
)
from demo_control.bundle import default_bundle, load_bundle
from demo_control.configuration import ConfigurationError, Entry, Scalar, parse_assignments, setting
from demo_control.layer import COST_WEIGHT_PREFIX, LayerSettings
from demo_control.tasks import Task, load_task

_NAME = "replay"
_LIVE_OF_LAYER = (COMMAND, "/planner_status", "/layer_state")


@dataclass(frozen=True)
class ReplayArguments(BringUpArguments):
    """Arguments of a replay; what is not given is as it was recorded."""

    duration: float = setting(0.0, "Seconds of the recording to play; 0 for all.", minimum=0.0)
    seed: int = setting(-1, "Seed of the planner's noise; -1 for the recorded one.", minimum=-1)
    bundle: str = setting("", "Folder of the model bundle; empty for the recorded one.")
    bag: str = setting("", "Folder or file of the recording.")
    rate: float = setting(1.0, "Speed of playing.", minimum=0.01, maximum=100.0)
    policy: bool = setting(False, "Let the bundle's policy answer; false: the recorded nominal actions.")
    settings: str = setting("", "Settings of the layer in the place of the recorded ones: NAME=VALUE, with commas.")
    task: str = setting("", "Name of the installed task; empty for the recorded one.")

    def __post_init__(self) -> None:
        """Know the rate by the name that all bring-ups have for it, too."""
        object.__setattr__(self, "real_time_factor", self.rate)
        super().__post_init__()

    @classmethod
    def entries(cls) -> Iterator[Entry]:
        """Without the second name of the rate, which is called as `ros2 bag play` calls it."""
        return (entry for entry in super().entries() if entry.name != "real_time_factor")


def make_replay(arguments: ReplayArguments) -> BringUp:
    """Player, layer and, if asked, policy.

    Raises:
        ConfigurationError: A recording that cannot be played, or arguments that do not fit it.
        BundleError: The bundle does not fit the task.
    """
    if not arguments.bag:
        raise ConfigurationError("bag = '': must name a recording")
    path = Path(arguments.bag).absolute()
    try:
        bag = Bag.open(path)
        found = survey(bag)
        task = load_task(arguments.task or _recorded_task(bag, found))
        _check(found, task, arguments)
        bundle = _bundle(found, task, arguments)
    except BagError as error:
        raise ConfigurationError(str(error)) from None
    seed = arguments.seed if arguments.seed >= 0 else int(found.states[0].seed) if found.states else 0
    duration_s = min(arguments.duration or found.duration_s, found.duration_s)
    arguments = replace(arguments, seed=seed, duration=duration_s, bag=str(path), bundle=str(bundle), task=task.name)
    live = [*(_LIVE_OF_LAYER if arguments.use_layer else (COMMAND,)), *((NOMINAL,) if arguments.policy else ())]
    player = NodeDescription(
        package="demo_control",
        executable="player_node",
        module="demo_control.nodes.player_node",
        name="player_node",
        parameters={
            "bag": str(path),
            "task": task.name,
            "rate": arguments.rate,
            "duration_s": duration_s,
            "live": ",".join(live),
        },
        lifecycle=True,
        ends_run=True,
        composable=False,
    )
    # The player comes last: it plays to nodes that are active.
    controlling = controllers(
        {"task": task.name, "bundle_directory": str(bundle), "use_sim_time": True},
        {"seed": arguments.seed, **_layer_parameters(task, found, arguments)},
        use_layer=arguments.use_layer,
        use_policy=arguments.policy,
    )
    nodes = (*controlling, player, *recorder_of(_NAME, arguments))
    return BringUp(
        name=_NAME, task=task.name, arguments=arguments, nodes=with_parameters_file(nodes, arguments.parameters)
    )


def _layer_parameters(task: Task, found: Survey, arguments: ReplayArguments) -> dict[str, Scalar]:
    """Settings and weights at the recording's start, and over them those that are given.

    Raises:
        ConfigurationError: A setting that is unknown or cannot be.
    """
    given = parse_assignments([text for text in arguments.settings.split(",") if text.strip()])
    if not found.states:
        LayerSettings.for_task(task, given)
        return given
    first = found.states[0]
    try:
        recorded, weights = json.loads(first.settings), json.loads(first.cost_weights)
        base = LayerSettings.from_mapping(recorded, source="the recording's layer_state")
        known = {term.name for term in task.cost_terms}
        by_name = {f"{COST_WEIGHT_PREFIX}{name}": float(weight) for name, weight in weights.items() if name in known}
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"the recording's layer_state cannot be used: {error}") from None
    return {**LayerSettings.from_mapping(given, source="settings", base=base).as_mapping(), **by_name}


def _recorded_task(bag: Bag, found: Survey) -> str:
    """Name of the task that was recorded.

    Raises:
        BagError: It is not known, or there are several.
    """
    names = {str(state.task) for state in found.states}
    for name, record in bag.records.items():
        if name.startswith(PARAMETERS_RECORD):
            try:
                parameters = json.loads(record.get("parameters", ""))
                names |= {str(parameters["task"])} if parameters.get("task") else set()
            except (ValueError, AttributeError):
                continue
    if len(names) != 1:
        what = (
            f"two robots in one recording: {', '.join(sorted(names))}"
            if names
            else "it does not say of which task it is"
        )
        raise BagError(f"{bag.path}: {what}; --task names one")
    return names.pop()


def _check(found: Survey, task: Task, arguments: ReplayArguments) -> None:
    """Refuse what cannot be played to the nodes that are asked for."""
    if not (arguments.use_layer or arguments.policy):
        raise ConfigurationError("use_layer and policy are false: no node is left to play to")
    if arguments.use_layer and not arguments.policy and not found.counts.get(NOMINAL):
        raise BagError(f"no message on {NOMINAL}: with --policy true the bundle's policy answers")
    expected = {OBSERVATION: task.observation_dim, NOMINAL: task.action_dim, COMMAND: task.action_dim}
    for topic, lengths in found.lengths.items():
        if lengths != {expected[topic]}:
            raise BagError(f"{topic}: vectors of {min(lengths)} values; task '{task.name}' has {expected[topic]}")


def _bundle(found: Survey, task: Task, arguments: ReplayArguments) -> Path:
    """The bundle that is given, or the recorded one, by its hash.

    Raises:
        BagError: It is not here.
        BundleError: The one that is given does not fit.
    """
    shipped = default_bundle(task.name)
    if arguments.bundle or not found.states:
        bundle = Path(arguments.bundle or shipped).absolute()
        load_bundle(bundle, task)
        return bundle
    first = found.states[0]
    place, _ = find_bundle(first.bundle_sha256, (shipped, Path(str(first.bundle_directory))), task)
    return place.absolute()


replay = Recipe(
    text="Play a recording to the live nodes, in real time or at another rate, and compare their commands.",
    arguments=ReplayArguments,
    make=make_replay,
)
