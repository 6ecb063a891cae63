"""The cart-pole: a pole hinged to a cart that a force drives along a rail.

Angle 0 is upright and positive leans towards +x; the state is (x, angle) and its rates.
"""

from stoch2_sim.robots.cartpole.parameters import PlantParameters, PlantSettings

__all__ = ["PlantParameters", "PlantSettings"]
