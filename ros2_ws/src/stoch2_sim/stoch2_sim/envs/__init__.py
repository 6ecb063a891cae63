"""Gymnasium environments; importing this package registers them, and so does gymnasium.make("stoch2_sim.envs:…").

``DemoControl/CartpoleSwingup-v0``, also as ``CartpoleSwingup-v0``: swing a hanging pole up, keep it
there.
"""

from stoch2_sim.envs.registration import register_environments

register_environments()
