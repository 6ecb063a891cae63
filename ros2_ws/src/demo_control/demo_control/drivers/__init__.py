"""What any robot's driver node is made of: judgement of commands, limits, pacing, states, and the node itself.

A robot's package adds what it is: see docs/new_robot.md.
"""
