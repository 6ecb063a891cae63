"""The bring-ups of this package's robots; `ros2 launch` and `democtl launch` both read them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from demo_control.bringup.description import (
    BringUp,
    BringUpArguments,
    NodeDescription,
    Recipe,
    with_parameters_file,
)
from demo_control.bundle import default_bundle, load_bundle
from demo_control.configuration import Scalar, setting
from demo_control.tasks import load_task
from stoch2_sim.simulators.pybullet_simulator import import_pybullet

_TASK = "cartpole"


@dataclass(frozen=True)
class CartpoleSwingUpArguments(BringUpArguments):
    """Arguments of the cart-pole's bring-up."""

    simulator: str = setting("mujoco", "The physics engine.", choices=("mujoco", "pybullet"))


def _make(arguments: CartpoleSwingUpArguments) -> BringUp:
    """Driver, policy and, unless switched off, the DeMo Layer.

    Raises:
        ConfigurationError: PyBullet or the parameter file is missing.
        BundleError: The bundle does not fit the task.
    """
    if arguments.simulator == "pybullet":
        import_pybullet()
    bundle = Path(arguments.bundle or default_bundle(_TASK)).absolute()
    # The nodes check it, too; here it is one line before anything is started.
    load_bundle(bundle, load_task(_TASK))
    model: dict[str, Scalar] = {
        "task": _TASK,
        "bundle_directory": str(bundle),
        "use_sim_time": arguments.real_time_factor != 1.0,
    }
    driver = NodeDescription(
        package="stoch2_sim",
        executable="cartpole_driver",
        module="stoch2_sim.drivers.cartpole_driver",
        name="cartpole_driver",
        parameters={
            "simulator": arguments.simulator,
            "seed": arguments.seed,
            "duration_s": arguments.duration,
            "real_time_factor": arguments.real_time_factor,
        },
        ends_run=True,
    )
    layer = NodeDescription(
        package="demo_control",
        executable="demo_layer_node",
        module="demo_control.nodes.demo_layer_node",
        name="demo_layer_node",
        parameters={**model, "seed": arguments.seed},
        lifecycle=True,
    )
    policy = NodeDescription(
        package="demo_control",
        executable="policy_node",
        module="demo_control.nodes.policy_node",
        name="policy_node",
        parameters=model,
        remappings={} if arguments.use_layer else {"nominal_action": "action"},
        lifecycle=True,
    )
    nodes = (driver, layer, policy) if arguments.use_layer else (driver, policy)
    return BringUp(
        name="cartpole_swingup",
        task=_TASK,
        arguments=arguments,
        nodes=with_parameters_file(nodes, arguments.parameters),
    )


cartpole_swingup = Recipe(
    text="Swing a hanging pole up and keep it there, in simulation.",
    arguments=CartpoleSwingUpArguments,
    make=_make,
)
