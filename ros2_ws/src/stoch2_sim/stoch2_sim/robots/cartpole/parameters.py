"""What the cart-pole weighs and measures, and the settings by which a plant differs from it."""

from __future__ import annotations

from dataclasses import dataclass

from demo_control.configuration import Settings, setting

CONTROL_PERIOD_S = 0.02
EPISODE_S = 20.0
FORCE_LIMIT_N = 10.0
GRAVITY_MPS2 = 9.81
RAIL_LIMIT_M = 2.4


@dataclass(frozen=True)
class PlantParameters:
    """The physical cart-pole; its pole is a uniform rod, inertia m l² / 3 about the centre.

    Attributes:
        cart_mass_kg: Mass of the cart.
        pole_mass_kg: Mass of the pole.
        pole_half_length_m: From the hinge to the pole's centre, l.
        cart_damping: Viscous friction between cart and rail, N s/m.
        pole_damping: Viscous friction in the hinge, N m s/rad.
    """

    cart_mass_kg: float = 1.0
    pole_mass_kg: float = 0.1
    pole_half_length_m: float = 0.5
    cart_damping: float = 0.0
    pole_damping: float = 0.0

    @property
    def pole_inertia_kgm2(self) -> float:
        """Inertia of the pole about its centre, across its length."""
        return self.pole_mass_kg * self.pole_half_length_m**2 / 3.0


@dataclass(frozen=True)
class PlantSettings(Settings):
    """How a simulated cart-pole departs from the nominal one."""

    pole_mass: float = setting(1.0, "Factor on the pole's mass, at the same length", minimum=0.05, maximum=20.0)
    pole_length: float = setting(
        1.0,
        "Factor on the pole's length, at the same mass; the inertia follows",
        minimum=0.1,
        maximum=10.0,
    )
    cart_mass: float = setting(1.0, "Factor on the cart's mass", minimum=0.05, maximum=20.0)
    damping: float = setting(0.0, "Viscous friction between cart and rail, N s/m", minimum=0.0, maximum=100.0)
    pole_damping: float = setting(0.0, "Viscous friction in the hinge, N m s/rad", minimum=0.0, maximum=10.0)
    delay_ticks: int = setting(0, "Control periods that every action arrives late", minimum=0, maximum=10)
    observation_noise: float = setting(
        0.0,
        "Standard deviation of the noise on each observation entry, in the entry's unit",
        minimum=0.0,
        maximum=10.0,
    )
    push_n: float = setting(
        0.0,
        "Force of random pushes on the cart, newtons; the sign is random, one every 2 to 3 s",
        minimum=0.0,
        maximum=1000.0,
    )
    push_s: float = setting(0.1, "Duration of a push, seconds", minimum=0.0, maximum=1.5)
    initial_noise: float = setting(
        0.05,
        "Standard deviation of the start around hanging at rest, on all four state entries (SI)",
        minimum=0.0,
        maximum=10.0,
    )

    def parameters(self) -> PlantParameters:
        """The physical parameters after scaling."""
        nominal = PlantParameters()
        return PlantParameters(
            cart_mass_kg=nominal.cart_mass_kg * self.cart_mass,
            pole_mass_kg=nominal.pole_mass_kg * self.pole_mass,
            pole_half_length_m=nominal.pole_half_length_m * self.pole_length,
            cart_damping=self.damping,
            pole_damping=self.pole_damping,
        )
