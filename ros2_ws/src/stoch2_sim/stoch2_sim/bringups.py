"""The bring-ups of this package's robots; `ros2 launch` and `democtl launch` both read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from demo_control.bringup.controllers import controllers
from demo_control.bringup.description import (
    BringUp,
    HardwareArguments,
    NodeDescription,
    Recipe,
    recorder_of,
    scheduling,
    with_parameters_file,
)
from demo_control.bundle import default_bundle, load_bundle
from demo_control.configuration import ConfigurationError, Scalar, setting
from demo_control.drivers.hardware_settings import HardwareSettings
from demo_control.drivers.walking import WalkingSettings
from demo_control.tasks import load_task
from stoch2_sim.drivers.stoch2_settings import Stoch2DriverSettings
from stoch2_sim.robots.stoch2.parameters import TERRAINS
from stoch2_sim.simulators.pybullet_simulator import import_pybullet

_USUAL_SLOPE_DEG = 7.0


@dataclass(frozen=True)
class CartpoleSwingUpArguments(HardwareArguments):
    """Arguments of the cart-pole's bring-up."""

    simulator: str = setting("mujoco", "The physics engine.", choices=("mujoco", "pybullet"))


@dataclass(frozen=True)
class Stoch2WalkArguments(HardwareArguments):
    """Arguments of Stoch2's bring-up."""

    simulator: str = setting("mujoco", "The physics engine.", choices=("mujoco", "pybullet"))
    terrain: str = setting("flat", "Kind of ground.", choices=TERRAINS)
    slope: float = setting(
        0.0,
        f"Inclination of the ground in degrees, uphill positive; makes 'flat' a 'slope', which alone has "
        f"{_USUAL_SLOPE_DEG:g}.",
        minimum=-30.0,
        maximum=30.0,
    )
    command: str = setting("", "Forward speed in m/s and yaw rate in rad/s as VX,WZ; empty for changing ones.")
    push: float = setting(0.0, "Force of pushes on the side, newtons, one every 6 s.", minimum=0.0, maximum=2000.0)


def _make_cartpole(arguments: CartpoleSwingUpArguments) -> BringUp:
    """Driver, policy and, unless switched off, the DeMo Layer.

    Raises:
        ConfigurationError: PyBullet or the parameter file is missing.
        BundleError: The bundle does not fit the task.
    """
    return _with_controllers(
        "cartpole_swingup", "cartpole", "cartpole_driver", arguments.simulator, {}, arguments, lambda _parameters: 0.0
    )


def _make_stoch2(arguments: Stoch2WalkArguments) -> BringUp:
    """Driver, policy and, unless switched off, the DeMo Layer; the driver's script makes the robot walk.

    Raises:
        ConfigurationError: PyBullet or the parameter file is missing, a command that is none, or a slope on stairs.
        BundleError: The bundle does not fit the task.
    """
    parameters: dict[str, Scalar] = {
        "command": arguments.command,
        "push_n": arguments.push,
        **ground_parameters(arguments.terrain, arguments.slope),
    }
    if arguments.hardware:
        # A real robot begins by itself only if somebody says so.
        parameters["autonomous"] = arguments.arm
    Stoch2DriverSettings(command=arguments.command)
    return _with_controllers(
        "stoch2_walk", "stoch2", "stoch2_driver", arguments.simulator, parameters, arguments, _way_to_sitting_s
    )


def _way_to_sitting_s(parameters: Mapping[str, Scalar]) -> float:
    """How long a Stoch2 takes from walking to sitting, by the parameters of its driver."""
    names = {entry.name for entry in WalkingSettings.entries()}
    own = {name: value for name, value in parameters.items() if name in names}
    return WalkingSettings.from_mapping(own, source="stoch2_driver").longest_way_to_sitting_s


def ground_parameters(terrain: str, slope_deg: float) -> dict[str, Scalar]:
    """The driver's parameters for the ground.

    Raises:
        ConfigurationError: A slope on stairs or rough ground.
    """
    if slope_deg and terrain not in ("flat", "slope"):
        raise ConfigurationError(f"slope = {slope_deg:g}: must be 0 on terrain '{terrain}'")
    if terrain == "slope" or slope_deg:
        return {"terrain": "slope", "slope_deg": slope_deg or _USUAL_SLOPE_DEG}
    return {"terrain": terrain}


def _with_controllers(
    name: str,
    task: str,
    driver_name: str,
    simulator: str,
    driver_parameters: Mapping[str, Scalar],
    arguments: HardwareArguments,
    own_way_s: Callable[[Mapping[str, Scalar]], float],
) -> BringUp:
    """A bring-up of a driver of this package, the policy and the layer of a task's bundle.

    Its last argument tells how long a real robot's own way of stopping takes, by the parameters of its driver.
    """
    wiring = arguments.wiring(task)
    wired = HardwareSettings(wiring=wiring).load(task) if wiring else None
    if wired is None and simulator == "pybullet":
        import_pybullet()
    bundle = Path(arguments.bundle or default_bundle(task)).absolute()
    # The nodes check it, too; here it is one line before anything is started.
    load_bundle(bundle, load_task(task))
    driver = NodeDescription(
        package="stoch2_sim",
        executable=driver_name,
        module=f"stoch2_sim.drivers.{driver_name}",
        name=driver_name,
        parameters={
            "simulator": simulator,
            "seed": arguments.seed,
            "duration_s": arguments.duration,
            "real_time_factor": arguments.real_time_factor,
            **scheduling(arguments),
            **driver_parameters,
            **({"wiring": wiring, "arm_by_itself": arguments.arm, "dry_run": arguments.dry_run} if wiring else {}),
        },
        ends_run=True,
    )
    nodes = (driver, *_controllers(task, bundle, arguments), *recorder_of(name, arguments))
    driver, *others = with_parameters_file(nodes, arguments.parameters)
    if wired is not None:
        driver = replace(driver, rest_s=wired.safety.rest_limit_s(own_way_s(driver.parameters)))
    return BringUp(
        name=name,
        task=task,
        arguments=arguments,
        nodes=(driver, *others),
        truth_topic="observation" if wiring else "ground_truth",
    )


def _controllers(task: str, bundle: Path, arguments: HardwareArguments) -> tuple[NodeDescription, ...]:
    """The nodes of a bundle: the policy and, unless switched off, the layer between it and the driver."""
    model: dict[str, Scalar] = {
        "task": task,
        "bundle_directory": str(bundle),
        "use_sim_time": arguments.real_time_factor != 1.0,
        **scheduling(arguments),
    }
    return controllers(model, {"seed": arguments.seed}, use_layer=arguments.use_layer)


cartpole_swingup = Recipe(
    text="Swing a hanging pole up and keep it there, in simulation.",
    arguments=CartpoleSwingUpArguments,
    make=_make_cartpole,
)

stoch2_walk = Recipe(
    text="Walk with the quadruped Stoch2, in simulation: stand up, walk at changing speeds, stop.",
    arguments=Stoch2WalkArguments,
    make=_make_stoch2,
)
