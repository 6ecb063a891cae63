"""The nodes of a bundle in a bring-up: the policy, and the layer between it and the driver."""

from __future__ import annotations

from collections.abc import Mapping

from demo_control.bringup.description import NodeDescription
from demo_control.configuration import Scalar
from demo_control.security.roles import LAYER, POLICY, POLICY_ALONE


def controllers(
    model: Mapping[str, Scalar], layer: Mapping[str, Scalar], *, use_layer: bool, use_policy: bool = True
) -> tuple[NodeDescription, ...]:
    """Describe the nodes that are asked for, each before the one that it listens to.

    Args:
        model: Parameters of both.
        layer: Further ones of the layer.
        use_layer: False: the policy's actions go to the driver.
        use_policy: False: something else publishes nominal actions.
    """
    layer_node = NodeDescription(
        package="demo_control",
        executable="demo_layer_node",
        module="demo_control.nodes.demo_layer_node",
        name="demo_layer_node",
        parameters={**model, **layer},
        lifecycle=True,
        enclave=LAYER,
    )
    policy_node = NodeDescription(
        package="demo_control",
        executable="policy_node",
        module="demo_control.nodes.policy_node",
        name="policy_node",
        parameters=model,
        remappings={} if use_layer else {"nominal_action": "action"},
        lifecycle=True,
        enclave=POLICY if use_layer else POLICY_ALONE,
    )
    return (*((layer_node,) if use_layer else ()), *((policy_node,) if use_policy else ()))
