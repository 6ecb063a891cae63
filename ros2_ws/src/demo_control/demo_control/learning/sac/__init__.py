"""Soft actor-critic: the learner, its replay buffer, and its policy and value as ONNX graphs."""

from demo_control.learning.sac.actor_critic import SoftActorCritic, UpdateFigures
from demo_control.learning.sac.replay import ReplayBuffer, RowLayout
from demo_control.learning.sac.settings import LearningSettings, SacSettings

__all__ = ["LearningSettings", "ReplayBuffer", "RowLayout", "SacSettings", "SoftActorCritic", "UpdateFigures"]
