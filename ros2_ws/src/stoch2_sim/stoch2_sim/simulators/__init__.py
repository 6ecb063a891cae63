"""Physics engines behind one protocol: MuJoCo (the default) and PyBullet (optional)."""

from stoch2_sim.simulators.protocol import Array, Mask, RobotModel, Simulator

__all__ = ["Array", "Mask", "RobotModel", "Simulator"]
