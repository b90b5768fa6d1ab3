"""Optuna's samplers, set up for searches with conditions, several at once and stopped trials."""

from __future__ import annotations

import random
import warnings
from collections import Counter
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial

from orchestration.sampler_choice import chosen
from orchestration.seeds import seed_of
from orchestration.study import Study

EXPLORE_EVERY = 4  # trials, of which one is random


class Exploring(TPESampler):  # type: ignore[misc]
    """TPE whose first trials, and then every fourth, are random, with the choices that were tried least.

    A multivariate model hardly ever suggests a choice that its first trials happened to lack. BOHB draws
    every third trial at random for the same reason (Falkner et al., 2018).
    """

    def __init__(self, seed: int, startup: int) -> None:
        super().__init__(
            seed=seed, multivariate=True, group=True, constant_liar=True, n_startup_trials=startup
        )
        self._startup = startup
        # TPE draws with `seed` itself where it has seen too little: the same numbers would be the same trial.
        self._random = RandomSampler(seed=seed_of(seed, "exploring") % 2**32)
        self._draw = random.Random(seed)

    def _explores(self, trial: FrozenTrial) -> bool:
        return bool(trial.number < self._startup or trial.number % EXPLORE_EVERY == 0)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """What the model suggests; nothing where the trial is a random one."""
        return {} if self._explores(trial) else super().sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """One value of a random trial, or one that the model has not seen."""
        if not self._explores(trial):
            return super().sample_independent(study, trial, param_name, param_distribution)
        if not isinstance(param_distribution, CategoricalDistribution):
            return self._random.sample_independent(study, trial, param_name, param_distribution)
        tried = Counter(t.params.get(param_name) for t in study.get_trials(deepcopy=False))
        fewest = min(tried[choice] for choice in param_distribution.choices)
        return self._draw.choice([c for c in param_distribution.choices if tried[c] == fewest])


def sampler(study: Study, drawn: int) -> BaseSampler:
    """The study's sampler. `drawn` trials exist: a restarted search must not draw the same points again.

    gp and cmaes model the parameters that every finished trial has (cmaes: the ranges among them). The
    others, those under a `when`, and for cmaes choices, are drawn one by one by TPE.
    """
    seed = seed_of(study.search.seed, "sampler", drawn) % 2**32
    name = chosen(study)
    startup = study.search.startup
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "experimental" is said of multivariate, group and several others
        if name == "tpe":
            return Exploring(seed, startup)
        if name == "nsga2":
            return optuna.samplers.NSGAIISampler(seed=seed)
        kind = {"gp": optuna.samplers.GPSampler, "cmaes": optuna.samplers.CmaEsSampler}.get(name)
        if kind is not None:
            return kind(
                seed=seed,
                n_startup_trials=startup,
                independent_sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup),
                warn_independent_sampling=False,
            )
    # A grid's points are queued, so that its sampler has nothing to draw.
    return optuna.samplers.RandomSampler(seed=seed)
