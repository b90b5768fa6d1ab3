"""How many epochs a search with successive halving trains, before it runs. Pure arithmetic, no Ray."""

from __future__ import annotations

import math
from dataclasses import dataclass

from orchestration.study import Study

HYPERBAND_BRACKETS = 3
EULER = 0.5772156649015329  # Euler and Mascheroni's constant


def grace_of(study: Study) -> int:
    """Epochs before a trial may be stopped: a quarter of the schedule unless the file says."""
    epochs = study.config().train.epochs
    return min(study.search.grace or max(1, math.ceil(epochs / 4)), max(1, epochs - 1))


def brackets_of(study: Study) -> int:
    """ASHA's brackets: one; for hyperband all that have a rung before the last epoch, at most three; none
    without ASHA (what the median rule stops depends on the trials).
    """
    epochs = study.config().train.epochs
    if study.search.scheduler in ("none", "median") or epochs == 1:
        return 0
    rungs = int(math.log(epochs / grace_of(study)) / math.log(study.search.reduction)) + 1
    return max(1, min(HYPERBAND_BRACKETS, rungs)) if study.search.scheduler == "hyperband" else 1


@dataclass(frozen=True)
class Stopping:
    """ASHA (Li et al., MLSys 2020) as Ray runs it: a trial goes on past a rung if its value is not below the
    (1 - 1/reduction) percentile of those that were there before it.

    Expectations are over trials in random order of quality: a sampler that learns brings better trials
    later, and more of them go on. `brackets` 0 stands for no stopping.
    """

    epochs: int
    grace: int
    reduction: float = 3.0
    brackets: int = 1

    def rungs(self, bracket: int = 0) -> list[int]:
        """Epochs, ascending and below the last, at which a trial of the bracket may be stopped."""
        depth = math.log(self.epochs / self.grace) / math.log(self.reduction)
        steps = range(bracket, int(depth) + 1) if self.brackets else ()
        found = (math.ceil(self.grace * self.reduction**step) for step in steps)
        return [epoch for epoch in found if epoch < self.epochs]

    def expected(self, trials: float) -> float:
        """Epochs that the first `trials` trials train in all."""
        if not self.brackets:
            return trials * self.epochs
        # Ray draws a bracket with these odds: the more rungs, the likelier.
        odds = [math.exp(len(self.rungs(bracket))) for bracket in range(self.brackets)]
        shares = [trials * weight / sum(odds) for weight in odds]
        return sum(self._through(self.rungs(bracket), share) for bracket, share in enumerate(shares))

    def _through(self, rungs: list[int], trials: float) -> float:
        spent, reached = 0.0, 0
        for rung in [*rungs, self.epochs]:
            spent += trials * (rung - reached)
            reached, trials = rung, self._passed(trials)
        return spent

    def rest(self, epoch: int, earlier: int) -> float:
        """Epochs that a trial now at `epoch` still trains, when `earlier` trials came before it."""
        left, going, at = 0.0, 1.0, epoch
        for rung in [r for r in self.rungs() if r > epoch] + [self.epochs]:
            left += going * (rung - at)
            going *= self.passes(earlier)
            at, earlier = rung, round(self._passed(earlier))
        return left

    def _passed(self, trials: float) -> float:
        """How many of the first `trials` at a rung go on; between whole numbers, linear.

        The sum of `passes` in closed form, since this is asked for every running trial at every end: with
        c = 1 - 1/reduction, passes(i) = (1 - c) + (2c - 1) / (i + 1) for i > 0.
        """
        whole = int(trials)
        if whole == 0:
            return trials
        top = 1 - 1 / self.reduction
        through = 1.0 + (1 - top) * (whole - 1) + (2 * top - 1) * (_harmonic(whole) - 1)
        return through + (trials - whole) * self.passes(whole)

    def passes(self, before: int) -> float:
        """Probability that a trial goes on at a rung where `before` others were, in random order.

        The percentile of n values lies at position h = (n - 1)(1 - 1/reduction) of their order, and a new
        value falls with equal probability into each of the n + 1 gaps between them.
        """
        if before == 0:
            return 1.0
        position = (before - 1) * (1 - 1 / self.reduction)
        return (before - position) / (before + 1)


def _harmonic(n: int) -> float:
    """1 + 1/2 + … + 1/n; from 50 on by Euler's series, exact to 1e-9."""
    if n < 50:
        return sum(1 / k for k in range(1, n + 1))
    return math.log(n) + EULER + 1 / (2 * n) - 1 / (12 * n**2)
