"""Random streams by name: what one part of a network draws does not depend on which other parts there are."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator

import torch


class Streams:
    """One draw from torch's own generator, and from it a stream for every name.

    So the variants of an ablation start alike: a gender head more leaves the initial position head as it was.
    """

    def __init__(self) -> None:
        self._root = int(torch.randint(2**62, (), device="cpu"))  # also where a network is built on meta

    @contextlib.contextmanager
    def of(self, name: str) -> Iterator[None]:
        """torch's CPU generator is the stream of `name` for the block, and itself again after it."""
        digest = hashlib.blake2b(f"{self._root}/{name}".encode(), digest_size=8).digest()
        before = torch.default_generator.get_state()
        torch.default_generator.manual_seed(int.from_bytes(digest, "big") >> 1)
        try:
            yield
        finally:
            torch.default_generator.set_state(before)
