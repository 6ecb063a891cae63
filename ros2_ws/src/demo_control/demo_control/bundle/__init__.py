"""The model bundle: policy, dynamics and value as ONNX files with a contract that says what they are.

Save, validate, load; no pickle and no torch.
"""

from demo_control.bundle.bundle import (
    Bundle,
    default_bundle,
    load_bundle,
    make_bundle,
    save_bundle,
)
from demo_control.bundle.contract import BundleError, Contract

__all__ = [
    "Bundle",
    "BundleError",
    "Contract",
    "default_bundle",
    "load_bundle",
    "make_bundle",
    "save_bundle",
]
