"""Stoch2: the quadruped with five-bar legs, its kinematics, gait, simulations and control."""
