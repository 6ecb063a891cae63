"""The simulated Stoch2 behind the driver: physics, sensing, estimation, gait, and what it is doing."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from demo_control.drivers.core import DriverCore, DriverState
from demo_control.drivers.limits import Limits
from demo_control.drivers.simulated_robot import SimulatedRobot, make_wire
from demo_control.drivers.walking import Request, Walking, WalkingMachine, WalkingSettings
from demo_control.tasks import Array
from stoch2_sim.drivers.stoch2_figures import WalkFigures
from stoch2_sim.drivers.stoch2_script import CommandSource, Pushes, Script
from stoch2_sim.drivers.stoch2_settings import Stoch2DriverSettings
from stoch2_sim.robots.stoch2.attitude import turned
from stoch2_sim.robots.stoch2.control import ControlSettings, Ideal, Stoch2Control
from stoch2_sim.robots.stoch2.episode import SensingParameters
from stoch2_sim.robots.stoch2.gait import NUM_ACTIONS
from stoch2_sim.robots.stoch2.geometry import (
    CONTROL_PERIOD_S,
    JOINT_MAXIMUM_RAD,
    JOINT_MINIMUM_RAD,
    NUM_LEGS,
)
from stoch2_sim.robots.stoch2.ground import Ground
from stoch2_sim.robots.stoch2.kinematics import inverse
from stoch2_sim.robots.stoch2.observation import BodyState, ObservationBuilder
from stoch2_sim.robots.stoch2.parameters import RobotParameters
from stoch2_sim.robots.stoch2.placement import neutral_stance
from stoch2_sim.robots.stoch2.plants import HEIGHT_MAXIMUM_M, HEIGHT_MINIMUM_M, PITCH_LIMIT_RAD, ROLL_LIMIT_RAD
from stoch2_sim.robots.stoch2.reference import WITHOUT_LEASH, CommandSettings, LeashSettings
from stoch2_sim.robots.stoch2.sensing import NoisySensors
from stoch2_sim.robots.stoch2.simulation import Sensors, Truth, make_simulation

PERIOD_NS = round(CONTROL_PERIOD_S * 1e9)

# The legs can hardly be folded more.
_SITTING_FOOT_M = (0.0, -0.13, 0.0)


@dataclass(frozen=True)
class Stoch2Setup:
    """Everything that a run of the simulated Stoch2 can be told."""

    driver: Stoch2DriverSettings
    robot: RobotParameters
    sensing: SensingParameters
    walking: WalkingSettings
    commands: CommandSettings
    leash: LeashSettings


def sitting_stance() -> Array:
    """Joint positions with folded legs. Shape=(4, 3)."""
    return inverse(np.tile(_SITTING_FOOT_M, (NUM_LEGS, 1)))


def tread(_observation: Array) -> Array:
    """The safe stop: steps of no length, on the spot. Shape=(20,)."""
    action = np.zeros(NUM_ACTIONS)
    action[:NUM_LEGS] = -1.0
    return action


class SimulatedStoch2(SimulatedRobot):
    """A Stoch2 that sits, held at its start until the first valid action or accepted request.

    Args:
        setup: All settings.

    Raises:
        ConfigurationError: The simulator is missing.
    """

    def __init__(self, setup: Stoch2Setup) -> None:
        seeds = np.random.SeedSequence(setup.driver.seed).spawn(3)
        noise, wire, pushes = (np.random.default_rng(seed) for seed in seeds)
        box = np.ones(NUM_ACTIONS)
        limits = Limits(-box, box, setup.driver.action_rate_limit_per_s * CONTROL_PERIOD_S * box)
        core = DriverCore(limits, tread, setup.driver.command_timeout_s, CONTROL_PERIOD_S)
        super().__init__(core, make_wire(wire, setup.driver), PERIOD_NS, substeps=1)
        self._setup = setup
        self._simulation = make_simulation(setup.driver.simulator, [setup.robot])
        self._ground = Ground([setup.robot])
        self._noise = NoisySensors([setup.sensing])
        self._noise.reset([noise])
        settings = replace(ControlSettings(), commands=setup.commands, leash=setup.leash)
        self.control = Stoch2Control([setup.sensing.instruments], settings)
        self._truly = ObservationBuilder(1, WITHOUT_LEASH)
        self._recent: deque[Array] = deque(maxlen=setup.sensing.latency_ticks + 1)
        self._ideal = np.array([setup.sensing.ideal_sensing])
        self.machine = WalkingMachine(setup.walking, sitting_stance(), neutral_stance())
        self._script = Script(setup.driver, setup.walking)
        self.commands = CommandSource(self._script)
        self.pushes = Pushes(setup.driver, pushes)
        self.figures = WalkFigures(CONTROL_PERIOD_S)
        self._walking_since_s = 0.0
        self._stopped_since_s: float | None = None
        self._force = np.zeros((1, 3))
        self._simulation.reset(np.zeros(1), self.machine.targets(sitting_stance(), sitting_stance())[None])
        self._look()
        self.control.reset(self.state.position, self.state.angles[:, 2], None, self.sensors.joint_positions)
        self._truly.reset(self.state.position, self.state.angles[:, 2])
        self._observe()

    @property
    def held(self) -> bool:
        """Whether the plant is held at its start."""
        return self.core.state is DriverState.WAITING and self.machine.state is Walking.SITTING

    @property
    def frozen(self) -> bool:
        """Never: a robot that fell lies on the ground and gives way."""
        return False

    @property
    def truth(self) -> Truth:
        """The true state."""
        return self._truth

    @property
    def state(self) -> BodyState:
        """The true state as observations tell it."""
        return self._state

    @property
    def sensors(self) -> Sensors:
        """What the robot measures, noise included."""
        return self._sensors

    def true_observation(self) -> Array:
        """The true state in the observation's coordinates, relative to an unleashed reference. Shape=(25,)."""
        return self._true_observation

    def ask(self, request: Request, who: str, *, outside: bool = True) -> str:
        """Ask the robot to do something else.

        Args:
            request: What.
            who: Wants it.
            outside: Somebody else than the script, which then ends.

        Returns:
            Why it is refused, or ''.
        """
        refusal = self.machine.refusal(request)
        if not refusal and request is Request.WALK and self.core.state is not DriverState.RUNNING:
            refusal = f"{request.value} refused: no actions arrive; is a policy running?"
        if refusal:
            return refusal
        if outside:
            self._script.active = False
        self.machine.request(request, who)
        if request is Request.WALK:
            self._begin_to_walk()
        return ""

    def _begin_to_walk(self) -> None:
        """The gait's clock starts anew, and so does the moving reference, where the robot stands."""
        self._walking_since_s = self.time_s
        estimate = self.control.state
        self.control.reset(estimate.position, estimate.angles[:, 2], None, self.sensors.joint_positions)
        self._truly.reset(self.state.position, self.state.angles[:, 2])

    def _read(self) -> Array:
        """The observation, as late as the settings say."""
        return self._recent[0]

    def _begin_period(self) -> None:
        time_s = self.time_s - CONTROL_PERIOD_S
        self.machine.tick(time_s)
        request = self._script.due(self.machine.state, time_s)
        if request is not None:
            self.ask(request, "script", outside=False)
        if self.machine.walks:
            self.pushes.follow_script(time_s - self._walking_since_s, time_s)
        self._force[0] = self.pushes.force_n(time_s)
        self._force[:, :2] = turned(self._force[:, :2], self.state.angles[:, 2])

    def _advance(self, action: Array, substeps: int) -> None:
        if not substeps:
            return
        measured = self.sensors.joint_positions
        gait = self.control.joint_targets(action[None]) if self.machine.gait_runs else measured
        targets = self.machine.targets(gait[0], measured[0])
        targets = np.minimum(np.maximum(targets, JOINT_MINIMUM_RAD), JOINT_MAXIMUM_RAD)
        self.control.hold(targets[None])
        self._simulation.advance(targets[None], self._force)

    def _watch(self, now_ns: int) -> None:
        self._look()
        self._observe()
        self._judge()
        self._watch_commands()
        problem = self._problem()
        if problem:
            self.machine.damp(problem)
            self.core.fault(problem, now_ns)

    def _look(self) -> None:
        """Read the true state and the sensors."""
        self._truth = self._simulation.truth()
        self._state = self._ground.state(self._truth)
        self._sensors = self._noise.read(self._simulation.sensors())

    def _observe(self) -> None:
        """Estimate, and make the observations."""
        requested, age_s = self.commands.request(self.machine.walks, self.time_s - self._walking_since_s, self.time_s)
        ideal = Ideal(self._ideal, self._state) if self._ideal[0] else None
        self._recent.append(self.control.observe(self._sensors, requested, age_s, ideal)[0])
        self._true_observation: Array = self._truly.build(self._state, self.control.phases, self.control.commands)[0]

    def _judge(self) -> None:
        """Take the true state into the figures of the run."""
        if self.machine.walks and self.machine.blend == 1.0:
            x, y = self._truth.position[0, :2].tolist()
            self.figures.walk(x, y, float(self._state.angles[0, 2]), self.control.commands[0])
        else:
            self.figures.rest()

    def _watch_commands(self) -> None:
        """Stop walking when actions stay away for long."""
        if self.core.state is not DriverState.STOPPED:
            self._stopped_since_s = None
            return
        if self._stopped_since_s is None:
            self._stopped_since_s = self.time_s
        if self.machine.walks and self.time_s - self._stopped_since_s >= self._setup.driver.patience_s:
            self.machine.request(Request.STOP, "no actions arrive")

    def _problem(self) -> str:
        """Why the robot cannot go on, or ''."""
        roll, pitch, _ = self.control.state.angles[0].tolist()
        height = float(self._state.height[0])
        if not np.isfinite([roll, pitch, height]).all():
            return "simulation_diverged"
        lies = not HEIGHT_MINIMUM_M <= height <= HEIGHT_MAXIMUM_M
        if abs(roll) > ROLL_LIMIT_RAD or abs(pitch) > PITCH_LIMIT_RAD or lies:
            self.figures.fell = True
            return "fell"
        return ""

    def close(self) -> None:
        """Release the simulator."""
        self._simulation.close()
