"""DeMo Control: everything that does not depend on the robot.

The method (`mpc`), who evaluates plans (`rollout`), model bundles, policies, learning, nodes and
the command line live here.
"""
