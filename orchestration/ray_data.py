"""Ray Data as the executor that `data` takes (data/spread.py)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

from data.errors import MachineError

Item = TypeVar("Item")
Result = TypeVar("Result")


class RayData:
    """Spreads work over the Ray cluster that this process has joined; results come as they are done."""

    here = False

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Generator[Result, None, None]:
        """Yield the results in any order. Raises MachineError where a task failed for good."""
        import ray
        from ray import cloudpickle
        from ray.exceptions import RayError

        if not items:
            return

        def work(row: dict[str, bytes]) -> dict[str, bytes]:
            return {"result": cloudpickle.dumps(function(cloudpickle.loads(row["item"])))}

        # As bytes: Ray Data would take our objects apart into columns.
        rows = [{"item": cloudpickle.dumps(item)} for item in items]
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)  # its plans and advice are not the user's
        try:
            for row in ray.data.from_items(rows, override_num_blocks=len(rows)).map(work).iter_rows():
                yield cloudpickle.loads(row["result"])
        except RayError as error:
            raise MachineError(f"a task on the Ray cluster failed: {error}") from error
