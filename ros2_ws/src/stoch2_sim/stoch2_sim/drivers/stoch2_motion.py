"""What simulated and real Stoch2s share: from readings to observations, and from actions to joint targets."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from demo_control.drivers.core import DriverState
from demo_control.drivers.walking import Request, WalkingMachine, WalkingSettings
from demo_control.tasks import Array
from stoch2_sim.drivers.stoch2_figures import WalkFigures
from stoch2_sim.drivers.stoch2_script import CommandSource, Script
from stoch2_sim.drivers.stoch2_settings import Stoch2DriverSettings
from stoch2_sim.robots.stoch2.control import ControlSettings, Ideal, Stoch2Control
from stoch2_sim.robots.stoch2.episode import SensingParameters
from stoch2_sim.robots.stoch2.gait import NUM_ACTIONS
from stoch2_sim.robots.stoch2.geometry import CONTROL_PERIOD_S, JOINT_MAXIMUM_RAD, JOINT_MINIMUM_RAD, NUM_LEGS
from stoch2_sim.robots.stoch2.parameters import RobotParameters
from stoch2_sim.robots.stoch2.placement import neutral_stance, sitting_stance
from stoch2_sim.robots.stoch2.reference import CommandSettings, LeashSettings
from stoch2_sim.robots.stoch2.simulation import Sensors

PERIOD_NS = round(CONTROL_PERIOD_S * 1e9)


@dataclass(frozen=True)
class Stoch2Setup:
    """Everything that a run of Stoch2 can be told."""

    driver: Stoch2DriverSettings
    robot: RobotParameters
    sensing: SensingParameters
    walking: WalkingSettings
    commands: CommandSettings
    leash: LeashSettings


def tread(_observation: Array) -> Array:
    """The safe stop: steps of no length, on the spot. Shape=(20,)."""
    action = np.zeros(NUM_ACTIONS)
    action[:NUM_LEGS] = -1.0
    return action


class Stoch2Motion:
    """States, script, estimation and gait of one robot.

    Args:
        setup: All settings.
    """

    def __init__(self, setup: Stoch2Setup) -> None:
        self._setup = setup
        settings = replace(ControlSettings(), commands=setup.commands, leash=setup.leash)
        self.control = Stoch2Control([setup.sensing.instruments], settings)
        self._recent: deque[Array] = deque(maxlen=setup.sensing.latency_ticks + 1)
        self.machine = WalkingMachine(setup.walking, sitting_stance(), neutral_stance())
        self._script = Script(setup.driver, setup.walking)
        self.commands = CommandSource(self._script)
        self.figures = WalkFigures(CONTROL_PERIOD_S)
        self.walking_since_s = 0.0
        self._stopped_since_s: float | None = None

    @property
    def observation(self) -> Array:
        """The observation, as late as the settings say. Shape=(25,)."""
        return self._recent[0]

    def start(self, position: Array, yaw: Array, sensors: Sensors) -> None:
        """Begin to estimate where the robot is.

        Args:
            position: Its origin's x and y. Shape=(1, 2).
            yaw: Heading. Shape=(1,).
            sensors: What is measured.
        """
        self.control.reset(position, yaw, None, sensors.joint_positions)

    def ask(self, request: Request, who: str, state: DriverState, time_s: float, *, outside: bool = True) -> str:
        """Ask the robot to do something else.

        Args:
            request: What.
            who: Wants it.
            state: Of the driver.
            time_s: Since the run's start.
            outside: Somebody else than the script, which then ends.

        Returns:
            Why it is refused, or ''.
        """
        refusal = self.machine.refusal(request)
        if not refusal and request is Request.WALK and state is not DriverState.RUNNING:
            refusal = f"{request.value} refused: no actions arrive; is a policy running?"
        if refusal:
            return refusal
        if outside:
            self._script.active = False
        self.machine.request(request, who)
        if request is Request.WALK:
            self.walking_since_s = time_s
        return ""

    def restart_gait(self, sensors: Sensors) -> None:
        """The gait's clock starts anew, and so does the moving reference, where the robot stands."""
        estimate = self.control.state
        self.control.reset(estimate.position, estimate.angles[:, 2], None, sensors.joint_positions)

    def script_request(self, time_s: float) -> Request | None:
        """What the script asks for at a time."""
        return self._script.due(self.machine.state, time_s)

    def targets(self, action: Array, measured: Array) -> Array:
        """Joint targets of this control period; the gait's clock moves on if it runs.

        Args:
            action: Shape=(20,).
            measured: Where the joints are. Shape=(4, 3).

        Returns:
            Radians. Shape=(4, 3).
        """
        gait = self.control.joint_targets(action[None]) if self.machine.gait_runs else measured[None]
        targets = self.machine.targets(gait[0], measured)
        targets = np.minimum(np.maximum(targets, JOINT_MINIMUM_RAD), JOINT_MAXIMUM_RAD)
        self.control.hold(targets[None])
        return targets

    def observe(self, sensors: Sensors, time_s: float, ideal: Ideal | None = None) -> None:
        """Estimate, and make the observation.

        Args:
            sensors: What is measured.
            time_s: Since the run's start.
            ideal: The truth, if the robot need not estimate.
        """
        requested, age_s = self.commands.request(self.machine.walks, time_s - self.walking_since_s, time_s)
        self._recent.append(self.control.observe(sensors, requested, age_s, ideal)[0])

    def add_up(self, position: Array, yaw: float) -> None:
        """Take the state into the figures of the run.

        Args:
            position: World x and y, and maybe z.
            yaw: Heading.
        """
        if self.machine.walks and self.machine.blend == 1.0:
            self.figures.walk(float(position[0]), float(position[1]), yaw, self.control.commands[0])
        else:
            self.figures.rest()

    def watch_commands(self, state: DriverState, time_s: float) -> None:
        """Stop walking when actions stay away for long.

        Args:
            state: Of the driver.
            time_s: Since the run's start.
        """
        if state is not DriverState.STOPPED:
            self._stopped_since_s = None
            return
        if self._stopped_since_s is None:
            self._stopped_since_s = time_s
        if self.machine.walks and time_s - self._stopped_since_s >= self._setup.driver.patience_s:
            self.machine.request(Request.STOP, "no actions arrive")


class MovedStoch2:
    """What a Stoch2 behind the driver, simulated or real, shows of its motion."""

    _motion: Stoch2Motion

    @property
    def machine(self) -> WalkingMachine:
        """What it is doing."""
        return self._motion.machine

    @property
    def control(self) -> Stoch2Control:
        """Its estimation and gait."""
        return self._motion.control

    @property
    def commands(self) -> CommandSource:
        """Where its commanded velocity comes from."""
        return self._motion.commands

    @property
    def figures(self) -> WalkFigures:
        """Of the run, as far as the robot knows: a simulated one the truth, a real one what it estimates."""
        return self._motion.figures
