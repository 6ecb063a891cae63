"""Gymnasium environments; importing this package registers them, and so does gymnasium.make("stoch2_sim.envs:…").

``DemoControl/CartpoleSwingup-v0``, also as ``CartpoleSwingup-v0``: swing a hanging pole up, keep it
there.
``DemoControl/Stoch2Walk-v0``, also as ``Stoch2Walk-v0``: walk over sloped ground, the paper's task.
``DemoControl/Stoch2WalkPlanning-v0``, also as ``Stoch2WalkPlanning-v0``: the same with all that the
DeMo layer plans from.
"""

from stoch2_sim.envs.registration import register_environments

register_environments()
