"""Which sampler a study has, and whether its packages are installed. Imports no Optuna."""

from __future__ import annotations

import importlib.util

from orchestration.errors import UserError
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


def require_packages(study: Study) -> None:
    """Raise UserError where the study's sampler needs a package that is not installed."""
    name = chosen(study)
    missing = [p for p in NEEDS.get(name, ()) if importlib.util.find_spec(p) is None]
    if missing:
        raise UserError(
            f"search.sampler: {name} needs the package {missing[0]}: pip install -e '.[samplers]'"
        )
