"""The workers that train one run together: rank, sums and gathers; one process is the simple case."""

from __future__ import annotations

import hashlib

import torch
import torch.distributed as dist
from torch import Tensor


class Workers:
    """The group this process belongs to: torch.distributed where it is initialised, else alone."""

    def __init__(self) -> None:
        joined = dist.is_available() and dist.is_initialized()
        self.rank = dist.get_rank() if joined else 0
        self.count = dist.get_world_size() if joined else 1

    def sum(self, values: Tensor) -> Tensor:
        """`values` summed over the workers, in place; every worker gets the sum."""
        if self.count > 1:
            dist.all_reduce(values)
        return values

    def gather(self, values: Tensor) -> list[Tensor]:
        """Every worker's `values` (one shape), by rank."""
        if self.count == 1:
            return [values]
        parts = [torch.empty_like(values) for _ in range(self.count)]
        dist.all_gather(parts, values.contiguous())
        return parts

    def wait(self) -> None:
        """Return once every worker is here."""
        if self.count > 1:
            dist.barrier()

    def require_equal(self, values: Tensor, what: str) -> None:
        """Raise RuntimeError unless all workers hold the same bytes of `values`."""
        if self.count == 1:
            return
        # Viewed as bytes: bfloat16 has no numpy type.
        data = values.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()
        digest = int.from_bytes(hashlib.sha256(data).digest()[:7], "big")
        seen = self.gather(torch.tensor([digest], dtype=torch.int64, device=values.device))
        if len({int(value) for value in seen}) > 1:
            raise RuntimeError(f"workers hold different {what} at the same epoch")
