"""Optuna's samplers, set up for searches with conditions, several at once and stopped trials."""

from __future__ import annotations

import importlib.util
import warnings

import optuna
from optuna.samplers import BaseSampler

from orchestration.errors import UserError
from orchestration.seeds import seed_of
from orchestration.space import grid
from orchestration.study import Study

NSGA2_POPULATIONS = 10  # fewer generations than this are hardly more than random draws
NEEDS = {"gp": ("greenlet",), "cmaes": ("cmaes",)}
GP_TRIALS = 100  # a Gaussian process costs the cube of its trials


def chosen(study: Study) -> str:
    """The sampler's name. `auto`, in this order:

    a space of choices that has no more points than `trials`: grid. Several objectives: nsga2 if there are
    trials for ten populations of 50, else tpe. Choices, conditions, a scheduler: tpe, the one that takes
    all three in its model. What remains is a space of plain ranges without stopping: gp up to 100 trials,
    else cmaes; tpe where there is one dimension, or constraints, that cmaes does not know.
    """
    search = study.search
    if search.sampler != "auto":
        return search.sampler
    ranges = [param for param in study.space.values() if param.choices is None]
    if not ranges and len(grid(study)) <= search.trials:
        return "grid"
    if study.objective.others:
        return "nsga2" if search.trials >= 50 * NSGA2_POPULATIONS else "tpe"
    conditional = any(param.when for param in study.space.values())
    if len(ranges) < len(study.space) or conditional or search.scheduler != "none":
        return "tpe"
    if search.trials <= GP_TRIALS:
        return "gp"
    return "cmaes" if len(ranges) > 1 and not search.constraints else "tpe"


def sampler(study: Study, drawn: int) -> BaseSampler:
    """The study's sampler. `drawn` trials exist: a restarted search must not draw the same points again.

    gp and cmaes model the parameters that every finished trial has (cmaes: the ranges among them). The
    others, those under a `when`, and for cmaes choices, are drawn one by one by TPE.
    """
    seed = seed_of(study.search.seed, "sampler", drawn) % 2**32
    name = chosen(study)
    startup = study.search.startup
    missing = [p for p in NEEDS.get(name, ()) if importlib.util.find_spec(p) is None]
    if missing:
        raise UserError(
            f"search.sampler: {name} needs the package {missing[0]}: pip install -e '.[samplers]'"
        )
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
