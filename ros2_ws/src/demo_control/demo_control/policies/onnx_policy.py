"""Any policy exported to ONNX, behind one call."""

from __future__ import annotations

import numpy as np
import onnx

from demo_control.onnx_graph import make_session
from demo_control.tasks import Array


class OnnxPolicy:
    """π_θ: observations to actions, in physical units.

    Args:
        model: A model ``observation (batch, n) → action (batch, m)``.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._session = make_session(model)

    def act(self, observations: Array) -> Array:
        """Actions for observations. Shape=(batch, observation_dim) → Shape=(batch, action_dim)."""
        feeds = {"observation": np.asarray(observations, np.float32)}
        action: Array = self._session.run(["action"], feeds)[0].astype(np.float64)
        return action
