"""Optuna's samplers, set up for searches with conditions, several at once and stopped trials."""

from __future__ import annotations

import warnings

import optuna
from optuna.samplers import BaseSampler

from orchestration.sampler_choice import chosen
from orchestration.seeds import seed_of
from orchestration.study import Study


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
            return optuna.samplers.TPESampler(
                seed=seed, multivariate=True, group=True, constant_liar=True, n_startup_trials=startup
            )
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
