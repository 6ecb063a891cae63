"""The description of a bring-up; knows neither ROS nor processes.

Bring-ups are plug-ins: a package declares an entry point of the group ``demo_control.bringups`` whose name is the
bring-up's and whose value is a :class:`Recipe`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Generic

from demo_control.configuration import ConfigurationError, Scalar, Settings, SettingsT, setting
from demo_control.files import check_folder
from demo_control.plugins import load_plugin
from demo_control.security.roles import RECORDER as RECORDER_ROLE
from demo_control.security.roles import shared_name
from demo_control.texts import TextError, load_yaml, shown

BRINGUP_GROUP = "demo_control.bringups"
RECORDER = "recorder_node"
"""Name of the node that records."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class BringUpArguments(Settings):
    """The arguments that every bring-up takes; a bring-up's own class adds to them."""

    duration: float = setting(20.0, "Length of the run in simulated seconds.", minimum=0.1)
    seed: int = setting(0, "Seed of everything random.", minimum=0)
    use_layer: bool = setting(True, "Correct the policy by the DeMo Layer; false: the policy alone.")
    real_time_factor: float = setting(
        1.0,
        "Speed of simulated time; other than 1, the driver publishes /clock.",
        minimum=0.01,
        maximum=100.0,
    )
    bundle: str = setting("", "Folder of the model bundle; empty for the shipped one.")
    parameters: str = setting("", "YAML file of ROS parameters, by node name, that replace the bring-up's own.")
    composed: str = setting(
        "none",
        "Nodes that share one process, with calls between them instead of messages: none, policy and layer, or all.",
        choices=("none", "policy,layer", "all"),
    )
    real_time: bool = setting(
        True, "In real time, ask Linux to run the nodes before all ordinary programs (SCHED_FIFO)."
    )
    record: str = setting("", "Folder to record the run to, which must not exist or be empty; empty for no recording.")
    security: str = setting(
        "",
        "Keystore of 'democtl security': all nodes encrypt, and may do no more than their role; true for that of the "
        "environment or ~/.config/demo_control/keystore; empty: as ROS_SECURITY_ENABLE says.",
    )


@dataclass(frozen=True)
class HardwareArguments(BringUpArguments):
    """Arguments of a bring-up that can also drive a real robot."""

    hardware: str = setting(
        "", "Wiring file of a real robot; true for ~/.config/demo_control/TASK.yaml; empty simulates."
    )
    arm: bool = setting(False, "On hardware: switch the actuators on and begin by itself, without the service arm.")
    dry_run: bool = setting(False, "On hardware: read and compute everything, send nothing to the actuators.")

    def wiring(self, task: str) -> str:
        """Path of the wiring file, '' to simulate.

        Args:
            task: Name of the task.

        Raises:
            ConfigurationError: The file is missing, or arguments that only a real robot has without one.
        """
        if self.hardware in ("", "false"):
            if self.arm or self.dry_run:
                raise ConfigurationError("arm and dry_run need hardware, the wiring file of a real robot")
            return ""
        path = Path(self.hardware).expanduser()
        if self.hardware == "true":
            path = Path.home() / ".config" / "demo_control" / f"{task}.yaml"
        if not path.is_file():
            raise ConfigurationError(f"hardware = '{self.hardware}': no such file: {path}")
        if self.real_time_factor != 1.0:
            raise ConfigurationError(f"real_time_factor = {self.real_time_factor}: must be 1 on hardware")
        return str(path.absolute())


@dataclass(frozen=True)
class NodeDescription:
    """One node, as one process.

    Attributes:
        package: ROS package, for `ros2 launch`.
        executable: Its executable, for `ros2 launch`.
        module: Python module with the same main function, where there is no ROS installation.
        name: The node's name.
        parameters: ROS parameters.
        remappings: Topic names, from → to.
        lifecycle: Whether it is configured and activated; such nodes are activated in the order of the bring-up.
        ends_run: Whether the run is over, and well, when this node ends with exit code 0.
        controls: Whether the robot needs it. Where it does not, its end does not end the run once that is under way,
            and it has no priority over other programs.
        composable: Whether it can share a process with others.
        rest_s: How long it may take to bring a robot to rest once it is told to end; nobody insists before.
        enclave: Of the process, where DDS is secured: its role. The node's name if empty.
        components: Nodes that share this process instead; made by :attr:`BringUp.processes`.
    """

    package: str
    executable: str
    module: str
    name: str
    parameters: Mapping[str, Scalar] = field(default_factory=dict)
    remappings: Mapping[str, str] = field(default_factory=dict)
    lifecycle: bool = False
    ends_run: bool = False
    controls: bool = True
    composable: bool = True
    rest_s: float = 0.0
    enclave: str = ""
    components: tuple[NodeDescription, ...] = ()

    def __post_init__(self) -> None:
        """Check the name, and that parameters are scalars; fill in the enclave."""
        if not self.components and not _NAME.fullmatch(self.name):
            raise ConfigurationError(f"node name '{self.name}': expected a ROS name")
        for key, value in self.parameters.items():
            if not (isinstance(key, str) and isinstance(value, (bool, int, float, str))):
                raise ConfigurationError(
                    f"node '{self.name}': parameter {shown(key)} = {shown(value)}: expected a name and a scalar"
                )
        object.__setattr__(self, "enclave", self.enclave or self.name)


@dataclass(frozen=True)
class BringUp:
    """Nodes that run together.

    Attributes:
        name: Of the bring-up.
        task: Name of the task that is run and judged.
        arguments: What it was made from.
        nodes: In the order of starting and activating.
        truth_topic: Where the robot's state is told by which the run is judged: what is measured, on a real robot.
    """

    name: str
    task: str
    arguments: BringUpArguments
    nodes: tuple[NodeDescription, ...]
    truth_topic: str = "ground_truth"

    def __post_init__(self) -> None:
        """Check that names are unique and that some node ends the run."""
        names = [node.name for node in self.nodes]
        if len(set(names)) != len(names):
            raise ConfigurationError(f"bring-up '{self.name}': a node name twice: {names}")
        if not any(node.ends_run for node in self.nodes):
            raise ConfigurationError(f"bring-up '{self.name}': no node ends the run")
        alone = [node.name for node in self.nodes if node.controls and not node.composable]
        if self.arguments.composed == "all" and alone:
            raise ConfigurationError(f"composed = 'all': {alone[0]} needs a process of its own")
        factor = self.arguments.real_time_factor
        if self.arguments.composed == "all" and factor != 1.0:
            # A node would hear the time of an observation after the observation itself.
            raise ConfigurationError(f"composed = 'all': needs real_time_factor = 1, not {factor:g}")

    @property
    def processes(self) -> tuple[NodeDescription, ...]:
        """One description per process: the nodes themselves, and the composition of those that share one."""
        composed = self.arguments.composed
        candidates = [node for node in self.nodes if node.controls and node.composable and composed != "none"]
        shared = [node for node in candidates if node.lifecycle or composed == "all"]
        if len(shared) <= 1:
            return self.nodes
        return (_composition(tuple(shared)), *(node for node in self.nodes if node not in shared))


def _composition(nodes: tuple[NodeDescription, ...]) -> NodeDescription:
    """Several nodes as one process."""
    return NodeDescription(
        package="demo_control",
        executable="composed_nodes",
        module="demo_control.nodes.composed",
        name="+".join(node.name for node in nodes),
        ends_run=any(node.ends_run for node in nodes),
        rest_s=max(node.rest_s for node in nodes),
        enclave=shared_name(node.enclave for node in nodes),
        components=nodes,
    )


@dataclass(frozen=True)
class Recipe(Generic[SettingsT]):
    """A bring-up that can be made from arguments.

    Attributes:
        text: One sentence for people.
        arguments: The arguments' class, a subclass of :class:`BringUpArguments`.
        make: Makes the bring-up; raises ConfigurationError or BundleError for arguments that cannot work.
    """

    text: str
    arguments: type[SettingsT]
    make: Callable[[SettingsT], BringUp]


def bringup_names() -> list[str]:
    """Names of the installed bring-ups, sorted."""
    return sorted({point.name for point in entry_points(group=BRINGUP_GROUP)})


def load_recipe(name: str) -> Recipe[Any]:
    """Load an installed bring-up's recipe.

    Raises:
        ConfigurationError: No such bring-up, or one that cannot be loaded.
    """
    for point in entry_points(group=BRINGUP_GROUP):
        if point.name == name:
            return load_plugin(point, Recipe)
    known = ", ".join(bringup_names()) or "none"
    raise ConfigurationError(f"bring-up '{name}' is not installed; installed: {known}")


def recorder_of(name: str, arguments: BringUpArguments) -> tuple[NodeDescription, ...]:
    """The node that records a bring-up, or none if nothing is to be recorded.

    Args:
        name: Of the bring-up.
        arguments: Of the bring-up; stand in the bag.

    Raises:
        ConfigurationError: The folder is no empty one.
        OSError: It could not be made, or written to.
    """
    if not arguments.record:
        return ()
    folder = Path(arguments.record).absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigurationError(f"record = '{arguments.record}': exists and is not an empty folder")
    check_folder(folder)
    return (
        NodeDescription(
            package="demo_control",
            executable="recorder_node",
            module="demo_control.nodes.recorder_node",
            name=RECORDER,
            parameters={
                "directory": str(folder),
                "bringup": name,
                "arguments": json.dumps({**arguments.as_mapping(), "record": folder.name}),
            },
            controls=False,
            enclave=RECORDER_ROLE,
        ),
    )


def scheduling(arguments: BringUpArguments) -> dict[str, Scalar]:
    """The parameters of a node that controls, for the scheduling that a bring-up asks for."""
    is_real_time = arguments.real_time and arguments.real_time_factor == 1.0
    return {"scheduling": "fifo" if is_real_time else "inherit"}


def with_parameters_file(nodes: tuple[NodeDescription, ...], path: str) -> tuple[NodeDescription, ...]:
    """The nodes with the parameters of a ROS parameter file put over their own.

    Values are left to the nodes to judge; names of nodes are judged here, because ROS ignores unknown ones.

    Args:
        nodes: Of one bring-up.
        path: The file; '' changes nothing.

    Raises:
        ConfigurationError: The file cannot be read, or names a node that the bring-up does not have.
    """
    if not path:
        return nodes
    sections = _sections(Path(path))
    known = [node.name for node in nodes]
    for name in sections:
        if name not in known:
            raise ConfigurationError(f"{path}: unknown node {name!r}; known: {', '.join(known)}")
    return tuple(_overridden(node, sections.get(node.name, {})) for node in nodes)


def _overridden(node: NodeDescription, parameters: Mapping[str, Scalar]) -> NodeDescription:
    """The node with some parameters replaced."""
    return NodeDescription(**{**vars(node), "parameters": {**node.parameters, **parameters}})


def _sections(path: Path) -> dict[str, dict[str, Scalar]]:
    """The parameters by node name of a ROS parameter file."""
    try:
        content = load_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from None
    except (TextError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: not a YAML file ({error})") from None
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path}: expected node names with 'ros__parameters'")
    sections: dict[str, dict[str, Scalar]] = {}
    for given, section in content.items():
        name = str(given).lstrip("/")
        parameters = section.get("ros__parameters") if isinstance(section, dict) else None
        if not isinstance(parameters, dict):
            raise ConfigurationError(f"{path}: node {name!r}: expected 'ros__parameters'")
        if name in sections:
            raise ConfigurationError(f"{path}: node {name!r} occurs twice")
        sections[name] = parameters
    return sections
