"""A run of the tiny study, trained to its end."""

import torch

from orchestration.run import Run, Task
from orchestration.session import one_thread_pool


def finished(task: Task) -> Run:
    """Train and conclude what `task` says, in this process."""
    with one_thread_pool(1):
        run = Run(task, torch.device("cpu"))
        while not run.finished:
            run.step()
        run.conclude()
    return run
