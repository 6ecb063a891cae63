"""Settings of the driver nodes."""

from __future__ import annotations

from dataclasses import dataclass

from demo_control.configuration import ConfigurationError, Settings, setting


@dataclass(frozen=True)
class DriverSettings(Settings):
    """What every driver can be told; what concerns the wire and the clock is for simulated robots alone."""

    seed: int = setting(0, "Seed of everything random: start, noise, wire, pushes", minimum=0)
    duration_s: float = setting(
        0.0,
        "Simulated seconds from the first command to the end of the run; 0 runs until a signal",
        minimum=0.0,
        maximum=1e6,
    )
    real_time_factor: float = setting(
        1.0,
        "Speed of simulated time. Other than 1, /clock is published (and the other nodes need use_sim_time); "
        "0 waits for the answer to each observation, as fast as they come",
        minimum=0.0,
        maximum=1000.0,
    )
    answer_limit_s: float = setting(
        1.0,
        "With real_time_factor 0: wall time to wait for an answer before going on without",
        minimum=0.001,
        maximum=60.0,
    )
    command_timeout_s: float = setting(
        0.1,
        "A command is carried out for at most this long, then the robot stops safely; also the greatest age of the "
        "observation a command may answer. Too short, and every lost message stops it",
        minimum=0.001,
        maximum=10.0,
    )
    wire_delay_s: float = setting(
        0.0, "Time that every command spends on the wire on top of the real one", minimum=0.0, maximum=1.0
    )
    wire_jitter_s: float = setting(
        0.0, "Mean of a random (exponential) time on top of the delay", minimum=0.0, maximum=1.0
    )
    wire_loss: float = setting(0.0, "Probability that a command is lost", minimum=0.0, maximum=1.0)
    wire_duplication: float = setting(0.0, "Probability that a command arrives twice", minimum=0.0, maximum=1.0)

    def check_hardware(self) -> None:
        """Refuse what a real robot cannot do.

        Raises:
            ConfigurationError: Time that does not run as fast as time does.
        """
        if self.real_time_factor != 1.0:
            raise ConfigurationError(
                f"{type(self).__name__}.real_time_factor = {self.real_time_factor}: must be 1 on hardware"
            )
