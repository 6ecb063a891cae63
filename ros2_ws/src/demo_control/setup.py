"""Builds demo_control as a ROS 2 package (ament_python); pip uses the pyproject.toml at the top."""

import runpy
from glob import glob
from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "demo_control"
KERNEL = runpy.run_path(str(Path(__file__).parent / PACKAGE / "rollout" / "native" / "build.py"))

setup(
    name=PACKAGE,
    version="0.1.0",
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
    package_data={
        PACKAGE: ["py.typed", "**/*.yaml", "**/*.xml", "**/*.cpp", "**/*.hpp", "models/**/*", "report/templates/*"]
    },
    **KERNEL["setuptools_arguments"](PACKAGE),
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
        (f"share/{PACKAGE}/launch", sorted(glob("launch/*.launch.py"))),
    ],
    install_requires=["setuptools"],
    zip_safe=False,
    author="DeMo Control maintainers",
    maintainer="DeMo Control maintainers",
    maintainer_email="maintainers@demo-control.example",
    description="A frozen policy, corrected online by dynamic-mirror-descent MPC on a learned model.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "democtl = demo_control.cli.main:main",
            "policy_node = demo_control.nodes.policy_node:main",
            "demo_layer_node = demo_control.nodes.demo_layer_node:main",
            "composed_nodes = demo_control.nodes.composed:main",
            "recorder_node = demo_control.nodes.recorder_node:main",
            "player_node = demo_control.nodes.player_node:main",
        ],
        "demo_control.bringups": ["replay = demo_control.bringup.replay:replay"],
        # The pyproject.toml at the top declares the same group for pip.
        "demo_control.buses": [
            "dynamixel = demo_control.hardware.dynamixel.bus:KIND",
            "vectornav = demo_control.hardware.vectornav.bus:KIND",
            "amt21 = demo_control.hardware.amt21:KIND",
            "ros2_control = demo_control.hardware.ros2_control:KIND",
        ],
    },
)
