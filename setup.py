"""Compiles the rollout kernel when pip installs the stack; everything else is in pyproject.toml."""

import runpy
from pathlib import Path

from setuptools import setup

PACKAGE = "ros2_ws/src/demo_control/demo_control"
KERNEL = runpy.run_path(str(Path(__file__).parent / PACKAGE / "rollout" / "native" / "build.py"))

setup(**KERNEL["setuptools_arguments"](PACKAGE))
