"""Builds stoch2_sim as a ROS 2 package (ament_python); pip uses the pyproject.toml at the top."""

from setuptools import find_packages, setup

PACKAGE = "stoch2_sim"

setup(
    name=PACKAGE,
    version="0.1.0",
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
    package_data={PACKAGE: ["py.typed", "**/*.xml", "**/*.urdf", "**/*.xacro", "**/*.yaml"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=False,
    author="DeMo Control maintainers",
    maintainer="DeMo Control maintainers",
    maintainer_email="maintainers@demo-control.example",
    description="Stoch2 and the cart-pole: models, simulators, environments and driver nodes.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "cartpole_driver = stoch2_sim.drivers.cartpole_driver:main",
            "stoch2_driver = stoch2_sim.drivers.stoch2_driver:main",
        ],
        # The pyproject.toml at the top declares the same groups for pip.
        "demo_control.tasks": [
            "cartpole = stoch2_sim.cartpole:task",
            "stoch2 = stoch2_sim.stoch2:task",
        ],
        "demo_control.bringups": [
            "cartpole_swingup = stoch2_sim.bringups:cartpole_swingup",
            "stoch2_walk = stoch2_sim.bringups:stoch2_walk",
        ],
        "demo_control.enclaves": [
            "cartpole_driver = stoch2_sim.enclaves:CARTPOLE_DRIVER",
            "stoch2_driver = stoch2_sim.enclaves:STOCH2_DRIVER",
        ],
        "demo_control.emulated_plants": [
            "cartpole = stoch2_sim.emulation.cartpole:EmulatedCartpole",
            "stoch2 = stoch2_sim.emulation.stoch2:EmulatedStoch2",
        ],
    },
)
