"""Soft actor-critic: the learner, its replay buffer, and its policy and value as ONNX graphs."""

from demo_control.learning.sac.actor_critic import SoftActorCritic, UpdateFigures
from demo_control.learning.sac.replay import ReplayBuffer, RowLayout
from demo_control.learning.sac.settings import SacSettings

__all__ = ["ReplayBuffer", "RowLayout", "SacSettings", "SoftActorCritic", "UpdateFigures"]
