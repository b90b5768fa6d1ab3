"""Claim: trial actors that Tune reuses make a trial's own cost small against fresh ones.

Trials are 3 steps of 0.1 s, two at once, without torch: what is measured is Ray's part. The actors of real
trials import torch too, which reuse saves as well.

    python benchmarks/tune_overhead.py

prints the seconds a trial takes beyond its work for both, over whole searches that take turns, and the ratio.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from statistics import median
from typing import Any

from orchestration.cluster import session

STEPS, WORK, CONCURRENT = 3, 0.1, 2


def search(trials: int, reuse: bool, folder: str) -> float:
    """Wall seconds of one search."""
    from ray import tune  # after `session` has set what Ray reads at import

    class Trial(tune.Trainable):  # type: ignore[misc]
        def setup(self, config: dict[str, Any]) -> None:
            self.steps = 0

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.steps = 0
            return True

        def step(self) -> dict[str, Any]:
            time.sleep(WORK)
            self.steps += 1
            return {"done": self.steps == STEPS}

    tuner = tune.Tuner(
        tune.with_resources(Trial, {"cpu": 1}),
        param_space={"number": tune.grid_search(list(range(trials)))},
        tune_config=tune.TuneConfig(max_concurrent_trials=CONCURRENT, reuse_actors=reuse),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=folder,
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )
    start = time.perf_counter()
    results = tuner.fit()
    wall = time.perf_counter() - start
    if results.errors:
        raise RuntimeError(f"trials failed, so their seconds mean nothing: {results.errors[0]}")
    return wall


def main() -> None:
    parser = argparse.ArgumentParser(description="Tune's cost of a trial: actors reused against fresh ones")
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    beyond: dict[bool, list[float]] = {True: [], False: []}
    with session(None, dashboard=False) as capacity:
        at_once = int(min(CONCURRENT, capacity.cpus))
        for _ in range(args.rounds):
            for reuse, seconds in beyond.items():
                with tempfile.TemporaryDirectory() as folder:
                    wall = search(args.trials, reuse, folder)
                # The time of a slot, divided by the trials that went through it.
                seconds.append(wall * at_once / args.trials - STEPS * WORK)
    reused, fresh = median(beyond[True]), median(beyond[False])
    print(f"{args.trials} trials of {STEPS * WORK:.1f} s, {at_once} at once: seconds a trial beyond its work")
    print(f"reused actors   {reused:5.2f}")
    print(f"fresh actors    {fresh:5.2f}")
    print(f"fresh / reused  {fresh / reused:5.1f}")


if __name__ == "__main__":
    main()
