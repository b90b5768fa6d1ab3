"""Peak memory of an epoch, on the host and on the GPU."""

from __future__ import annotations

import contextlib
from pathlib import Path

import torch

GIB = 2**30


class PeakMemory:
    """Starts anew at `begin`; `read` gives the metrics of the epoch since."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def begin(self) -> None:
        """Forget the peaks so far: a reused process has had other trials."""
        with contextlib.suppress(OSError):  # no such file outside Linux
            Path("/proc/self/clear_refs").write_text("5")
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)

    def read(self) -> dict[str, float]:
        """This process's peak of resident memory (mapped files included) in GiB, and of the GPU's tensors."""
        found: dict[str, float] = {}
        with contextlib.suppress(OSError):
            status = Path("/proc/self/status").read_text().splitlines()
            peak = next((line.split()[1] for line in status if line.startswith("VmHWM")), None)
            if peak is not None:
                found["train/memory_gib"] = int(peak) * 1024 / GIB
        if self._device.type == "cuda":
            found["train/gpu_memory_gib"] = torch.cuda.max_memory_allocated(self._device) / GIB
        return found


def gpu_memory() -> tuple[float, ...]:
    """GiB of each GPU that torch sees here."""
    count = torch.cuda.device_count()
    return tuple(torch.cuda.get_device_properties(i).total_memory / GIB for i in range(count))
