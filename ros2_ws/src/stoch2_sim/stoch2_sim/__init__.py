"""The robots: Stoch2 and the cart-pole.

Their models, the simulators behind one protocol, Gymnasium environments and driver nodes live here.
"""
