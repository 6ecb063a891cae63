"""Model-based reinforcement learning: DeMoRL, MBPO, MoPAC and plain SAC as settings of one loop.

:mod:`loop` is the algorithm; start there.
"""
