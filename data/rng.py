"""Counter-based random numbers: pure functions of (seed, epoch, sample), with no state to save.

A sample draws the same numbers alone or in any batch, on one worker or on eight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # importing torch costs a second, which data.prepare need not pay
    import torch

# One stream per purpose, so that no two purposes share numbers.
AUGMENT, ORDER, NOISE, SYNTHETIC = 1, 2, 3, 4

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_WORD = (1 << 64) - 1


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return splitmix64's finaliser of x, a bijection on 64-bit words."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def hashes(seed: int, epoch: int, sample_ids: NDArray[np.int64], stream: int = 0) -> NDArray[np.uint64]:
    """Return one 64-bit hash per sample [len(sample_ids)]; different samples never share one."""
    key = np.zeros(1, np.uint64)
    for part in (seed, stream, epoch):
        key = _mix((key ^ np.uint64(part & _WORD)) + _GOLDEN)
    ids = np.asarray(sample_ids, np.int64).astype(np.uint64)
    return _mix(_mix(key ^ ids) + _GOLDEN)


def uniforms(
    seed: int, epoch: int, sample_ids: NDArray[np.int64], count: int, stream: int = 0
) -> NDArray[np.float32]:
    """Return `count` numbers in [0, 1) per sample: [len(sample_ids), count] float32."""
    columns = np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN
    words = _mix(hashes(seed, epoch, sample_ids, stream)[:, None] + columns)
    # 24 bits are what a float32 holds exactly; more would round up to 1.
    return (words >> np.uint64(40)).astype(np.float32) * np.float32(2**-24)


class NoiseTable:
    """Standard-normal noise of `channels` numbers per sample, a pure function of (seed, epoch, sample).

    One table of 2**20 normals is drawn per (seed, epoch); a sample takes the slice at its hashed
    offset, which costs a copy instead of `channels` draws. Numbers are drawn on the CPU, so that every
    device gets the same.
    """

    SIZE = 1 << 20

    def __init__(
        self, seed: int, epoch: int, channels: int, dtype: torch.dtype, device: torch.device | str
    ) -> None:
        import torch

        if not 1 <= channels <= self.SIZE:
            raise ValueError(f"channels must be 1..{self.SIZE}. Received: {channels}")
        self.seed, self.epoch, self.channels = seed, epoch, channels
        word = int(hashes(seed, epoch, np.zeros(1, np.int64), NOISE)[0])
        generator = torch.Generator().manual_seed(word >> 1)
        table = torch.randn(self.SIZE, generator=generator).to(device=device, dtype=dtype)
        self._slices = table.unfold(0, channels, 1)  # a view: [SIZE - channels + 1, channels]

    def rows(self, sample_ids: NDArray[np.int64]) -> torch.Tensor:
        """Return the noise of these samples: [len(sample_ids), channels]."""
        import torch

        words = hashes(self.seed, self.epoch, sample_ids, NOISE)
        offsets = (words % np.uint64(len(self._slices))).astype(np.int64)
        return self._slices[torch.from_numpy(offsets).to(self._slices.device)]
