"""How much of the finished trials' differences each parameter explains, and how sure that is."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from statistics import mean, stdev

import numpy as np
import optuna
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

MIN_FINISHED = 10
REFITS = 10
SECONDS = 20.0  # a large study is refitted less often, three times at least
TREES = 32


@dataclass(frozen=True)
class Importance:
    """`shares` holds (parameter, mean, sd) over refits, largest first; empty where `problem` says why."""

    shares: list[tuple[str, float, float]]
    finished: int
    left_out: list[str]  # parameters that some finished trials do not have
    problem: str = ""

    def lines(self) -> list[str]:
        """In words, with what it does not say."""
        if self.problem:
            return [f"parameter importance: {self.problem}"]
        words = [f"{name} {share:.2f} ± {sd:.2f}" for name, share, sd in self.shares]
        lines = [
            f"parameter importance (fANOVA over {self.finished} finished trials, ± sd over refits to"
            " resampled trials; stopped ones take no part):",
            f"  {', '.join(words)}",
        ]
        if self.left_out:
            lines.append(f"  not compared, since only some trials have it: {', '.join(self.left_out)}")
        return lines


def importance(study: optuna.Study, refits: int = REFITS) -> Importance:
    """fANOVA (Hutter et al., ICML 2014) of finished trials, refitted to trials drawn with replacement.

    An early value is not a final one, so stopped trials are left out: what is said is about trials good
    enough to finish.
    """
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    everywhere = set.intersection(*(set(t.params) for t in trials)) if trials else set()
    left_out = sorted({name for t in trials for name in t.params} - everywhere)
    varied = [n for n in sorted(everywhere) if len({t.params[n] for t in trials}) > 1]
    if len(trials) < MIN_FINISHED:
        words = f"needs {MIN_FINISHED} finished trials, there are {len(trials)}"
        return Importance([], len(trials), left_out, words)
    if not varied or len({t.value for t in trials}) == 1:
        return Importance([], len(trials), left_out, "finished trials do not differ")
    draw = np.random.default_rng(0)
    until = time.monotonic() + SECONDS
    fits: list[dict[str, float]] = []
    while len(fits) < refits and (len(fits) < 3 or time.monotonic() < until):
        again = [trials[i] for i in draw.integers(len(trials), size=len(trials))]
        fits.append(_fit(study, again, varied, seed=len(fits)))
    shares = [(name, mean(fit[name] for fit in fits), stdev(fit[name] for fit in fits)) for name in varied]
    return Importance(sorted(shares, key=lambda share: -share[1]), len(trials), left_out)


def _fit(study: optuna.Study, trials: list[FrozenTrial], names: list[str], seed: int) -> dict[str, float]:
    sample = optuna.create_study(direction=study.direction)
    sample.add_trials(trials)
    moved = {name for name in names if len({t.params[name] for t in trials}) > 1}
    found = dict.fromkeys(names, 0.0)
    if moved and len({t.value for t in trials}) > 1:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            evaluator = FanovaImportanceEvaluator(n_trees=TREES, seed=seed)
            found.update(get_param_importances(sample, evaluator=evaluator, params=sorted(moved)))
    return found
