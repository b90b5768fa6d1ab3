"""Where results come from: the code's commit and what was changed since, package versions, the machine."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
PACKAGES = ("torch", "ray", "optuna", "mlflow", "numpy", "scipy", "pyarrow")


def _git(*arguments: str) -> str | None:
    """What git says of this code; None where it is no checkout."""
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        command = ["git", "-C", str(HOME), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return None


def tags() -> dict[str, str]:
    """Short facts for every run: commit, versions, hardware of the driver's machine."""
    found = {"hardware": hardware(), "python": platform.python_version()}
    commit = _git("describe", "--always", "--dirty")
    whole = _git("rev-parse", "HEAD")
    if commit is not None and whole is not None:
        found |= {"git_commit": commit.strip(), "mlflow.source.git.commit": whole.strip()}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[f"version.{name}"] = metadata.version(name)
    return found


def files() -> dict[str, str]:
    """Longer facts for a study, by file name: every package, and what differs from the commit."""
    packages = sorted({f"{d.metadata['Name']}=={d.version}" for d in metadata.distributions()})
    found = {"packages.txt": "\n".join(packages) + "\n"}
    changed = _git("diff", "HEAD")
    if changed:
        found["code.diff"] = changed
    return found


def hardware() -> str:
    """Processor, cores, memory and GPUs of this machine in one line."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((x.partition(":")[2].strip() for x in lines if x.startswith("model name")), model)
    parts = [f"{os.cpu_count()} × {model}"]
    with contextlib.suppress(OSError, ValueError):
        parts.append(f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB")
    return ", ".join([*parts, *_gpus()])


def _gpus() -> list[str]:
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        return [f"{len(listed)} × {listed[0]}"] if listed else []
    return []
