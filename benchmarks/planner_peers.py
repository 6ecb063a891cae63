"""Planners and libraries of others on the same plans, each the way its users would call it.

All of them get the same network, cost, horizon and number of samples as our engines, and costs written on whole
arrays, which is faster there than one column after the other. None of them is needed: the report says how to get those
that are absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
from batched_model import BatchedModel, Contender, Evaluated, numpy_contender, of_samples
from bench_support import those_there
from rollout_cases import Case

PACKAGES = ("numpy", "onnxruntime", "torch", "pytorch_mppi", "mbrl")
_TEMPERATURE = 10.0
"""λ of pytorch_mppi, about the spread of the costs; it does not change how much is computed."""
_ELITES = 0.1
"""Share of elites of mbrl-lib's CEM, and how much of the old mean it keeps: its own configuration of PETS."""
_SMALL_LOG_VARIANCE = -60.0


def peers_of(case: Case) -> tuple[list[Contender], dict[str, str]]:
    """Who takes part in a case with random networks, and how to get the others, by package."""
    others = {"mbrl": _mbrl} if case.samples.shape[1] > 1 else {"pytorch_mppi": _pytorch_mppi}
    makers = {"torch": _torch, **others}
    contenders, absent = those_there({package: partial(make, case) for package, make in makers.items()})
    return [numpy_contender(case), *contenders], absent


def _torch(case: Case) -> list[Contender]:
    """PyTorch without compilation: each step's operators one after the other.

    Raises:
        ImportError: It is not there; so in the other functions here.
    """
    import torch  # noqa: PLC0415 - optional

    model = _torch_model(case)
    roll_out = torch.inference_mode()(model.roll_out)
    return [Contender("torch_eager", roll_out, lambda: of_samples(case, roll_out().numpy()))]


def _torch_model(case: Case) -> BatchedModel:
    """The case's network and cost in PyTorch, on one thread."""
    import torch  # noqa: PLC0415 - optional

    torch.set_num_threads(1)

    def linear(values: Any, weights: Any, bias: Any) -> Any:  # noqa: ANN401 - tensors
        return (torch.addmm if weights.ndim == 2 else torch.baddbmm)(bias, values, weights)

    functions = {"relu": torch.relu, "tanh": torch.tanh, "silu": torch.nn.functional.silu}
    return BatchedModel(case, torch, _tensor, linear, functions)


def _tensor(array: Any) -> Any:  # noqa: ANN401 - arrays and tensors
    import torch  # noqa: PLC0415 - optional

    return torch.from_numpy(np.array(array, np.float32))


def _pytorch_mppi(case: Case) -> list[Contender]:
    """The whole ``command()`` of pytorch_mppi: it draws noise, rolls out, weighs, and moves its plan on."""
    import torch  # noqa: PLC0415 - optional
    from pytorch_mppi import MPPI  # noqa: PLC0415 - optional

    model = _torch_model(case)
    horizon, _, rows, action_dim = case.samples.shape
    controller = MPPI(
        dynamics=model.step,
        running_cost=model.stage_cost,
        terminal_state_cost=lambda states, _: model.terminal_cost(states[0, :, -1]),
        nx=case.task.observation_dim,
        noise_sigma=torch.diag(_tensor(case.noise) ** 2),
        num_samples=rows,
        horizon=horizon,
        lambda_=_TEMPERATURE,
        u_min=_tensor(case.task.action_minimum),
        u_max=_tensor(case.task.action_maximum),
        U_init=torch.zeros(horizon, action_dim),
    )
    command = torch.inference_mode()(lambda: controller.command(model.start))

    def evaluate() -> Evaluated:
        # Around a plan of zeros its own price of a deviation from the plan is zero.
        controller.U = torch.zeros(horizon, action_dim)
        command()
        samples = controller.perturbed_action.numpy().swapaxes(0, 1)[:, None]
        return samples, controller.cost_total.numpy()[None] + model.start_cost()

    return [Contender("pytorch_mppi", command, evaluate)]


def _mbrl(case: Case) -> list[Contender]:
    """mbrl-lib: its evaluation of action sequences, and one iteration of its CEM; see :class:`_Mbrl`."""
    deterministic, probabilistic = _Mbrl(case, deterministic=True), _Mbrl(case, deterministic=False)
    return [
        Contender("mbrl_evaluation", deterministic.evaluate_samples, deterministic.evaluated_samples),
        Contender("mbrl_cem", deterministic.iterate, deterministic.evaluated_iteration),
        Contender("mbrl_pets", probabilistic.iterate, probabilistic.evaluated_iteration),
    ]


class _Mbrl:
    """mbrl-lib's CEM on its own ensemble of the case's weights, every sequence on one member (TS∞ of PETS).

    Args:
        case: With an ensemble.
        deterministic: True: the ensemble predicts means, as ours does. False: it predicts variances too and draws from
            them, as in mbrl-lib's configurations of PETS; here they are next to nothing, so that costs can be compared.
    """

    def __init__(self, case: Case, deterministic: bool) -> None:
        import torch  # noqa: PLC0415 - optional
        from mbrl.planning.trajectory_opt import CEMOptimizer  # noqa: PLC0415 - optional

        self._torch = torch
        self._environment = _mbrl_environment(case, deterministic)
        self._horizon, self._members, self._rows, self._action_dim = case.samples.shape
        self._population = self._members * self._rows
        task = case.task
        lower, upper = (
            np.tile(limit, (self._horizon, 1)).tolist() for limit in (task.action_minimum, task.action_maximum)
        )
        self._optimizer = CEMOptimizer(
            1, _ELITES, self._population, lower, upper, alpha=_ELITES, device=torch.device("cpu")
        )
        # It draws within the limits, where ours are clipped.
        bounded = np.clip(case.samples, task.action_minimum, task.action_maximum).transpose(1, 2, 0, 3)
        self._sequences = _tensor(bounded.reshape(self._population, self._horizon, self._action_dim))
        self._start, self._start_cost = case.start.astype(np.float32), _torch_model(case).start_cost()
        self._random: Any = None
        self._seen: Any = None
        self._rewards: Any = None

    def evaluate_samples(self) -> Any:  # noqa: ANN401 - a tensor
        """``evaluate_action_sequences()`` of the case's samples."""
        return self._evaluate(self._sequences)

    def iterate(self) -> Any:  # noqa: ANN401 - a tensor
        """``optimize()`` with one iteration: it draws, evaluates, and takes the elites' mean and variance."""
        return self._optimizer.optimize(self._evaluate, x0=self._torch.zeros(self._horizon, self._action_dim))

    def evaluated_samples(self) -> Evaluated:
        """The case's samples and what they cost."""
        self.evaluate_samples()
        return self._evaluated()

    def evaluated_iteration(self) -> Evaluated:
        """The population of one iteration and what it costs."""
        self.iterate()
        return self._evaluated()

    def _evaluate(self, sequences: Any) -> Any:  # noqa: ANN401 - tensors
        self._random, self._seen = self._torch.get_rng_state(), sequences
        self._rewards = self._environment.evaluate_action_sequences(sequences, self._start, num_particles=1)
        return self._rewards

    def _evaluated(self) -> Evaluated:
        """What was seen last, sorted by member."""
        # The members' shares follow from a permutation, the first random numbers that an evaluation draws.
        self._torch.set_rng_state(self._random)
        order = self._torch.randperm(self._population)
        samples = self._seen[order].numpy().reshape(self._members, self._rows, self._horizon, self._action_dim)
        costs = self._start_cost - self._rewards[order].numpy().reshape(self._members, self._rows)
        return samples.transpose(2, 0, 1, 3), costs


def _mbrl_environment(case: Case, deterministic: bool) -> Any:  # noqa: ANN401 - mbrl's ModelEnv
    """mbrl-lib's environment around its own ensemble of the case's weights."""
    import torch  # noqa: PLC0415 - optional
    from mbrl.env.termination_fns import no_termination  # noqa: PLC0415 - optional
    from mbrl.models import GaussianMLP, ModelEnv, OneDTransitionRewardModel  # noqa: PLC0415 - optional

    assert case.dynamics is not None
    layers, task = case.dynamics.layers, case.task
    network = GaussianMLP(
        in_size=task.observation_dim + task.action_dim,
        out_size=task.observation_dim,
        device="cpu",
        num_layers=len(layers) - 1,
        ensemble_size=len(layers[0][0]),
        hid_size=layers[0][0].shape[-1],
        deterministic=deterministic,
        propagation_method="fixed_model",
        activation_fn_cfg={"_target_": _MODULES[case.dynamics.activation]},
    )
    places = [*(layer[0] for layer in network.hidden_layers), network.mean_and_logvar]
    with torch.no_grad():
        for place, (weights, bias) in zip(places, layers, strict=True):
            outputs = weights.shape[-1]
            place.weight[..., :outputs] = _tensor(weights)
            place.bias[..., :outputs] = _tensor(bias)
        if not deterministic:
            network.min_logvar.fill_(_SMALL_LOG_VARIANCE)
            network.max_logvar.fill_(_SMALL_LOG_VARIANCE + 1.0)
    model = _torch_model(case)
    return ModelEnv(
        SimpleNamespace(observation_space=None, action_space=None),
        OneDTransitionRewardModel(network, target_is_delta=True, normalize=False, learned_rewards=False),
        no_termination,
        lambda actions, states: -model.stage_cost(states, actions)[:, None],
    )


_MODULES: Mapping[str, str] = {"relu": "torch.nn.ReLU", "tanh": "torch.nn.Tanh", "silu": "torch.nn.SiLU"}
