"""Several workers in one process: a thread each, that meet wherever they exchange tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

from model.reference_base import Exchange, Tensors

T = TypeVar("T")


def together(workers: Sequence[Callable[[Exchange], T]]) -> list[T]:
    """What each worker returns, given an exchange over all of them."""
    board: list[Tensors] = [()] * len(workers)
    meet = Barrier(len(workers), timeout=60)

    def start(rank: int) -> T:
        def exchange(mine: Tensors) -> list[Tensors]:
            board[rank] = mine
            meet.wait()
            seen = list(board)
            meet.wait()
            return seen

        try:
            return workers[rank](exchange)
        except BaseException:
            meet.abort()
            raise

    with ThreadPoolExecutor(len(workers)) as pool:
        return list(pool.map(start, range(len(workers))))
