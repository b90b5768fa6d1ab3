"""What a node has: carried to it by value, so nothing but the standard library is imported here."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import platform
import socket
from pathlib import Path

# What a worker imports; the driver's own (mlflow, optuna) may be missing elsewhere.
NEEDED = ("ray", "torch", "numpy", "pandas", "pyarrow", "pydantic", "PyYAML", "Pillow", "scipy")
OURS = ("orchestration", "model", "data", "search_spaces")
ENDINGS = (".py", ".yaml", ".j2")


def look() -> dict[str, str | None]:
    """Host, Python, the versions of the packages a worker needs (None: missing) and the code's hash."""
    found: dict[str, str | None] = {"host": socket.gethostname(), "Python": platform.python_version()}
    for name in NEEDED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    found["code"] = code_hash()
    return found


def code_hash() -> str | None:
    """SHA-256 over the files of our packages as Python finds them here; None where one is not found."""
    sums = hashlib.sha256()
    for package in OURS:
        folder = folder_of(package)
        if folder is None:
            return None
        for path in files_of(folder):
            sums.update(f"{package}/{path.relative_to(folder).as_posix()}\0".encode())
            sums.update(path.read_bytes())
    return sums.hexdigest()


def folder_of(package: str) -> Path | None:
    """Where Python finds a package, which is not imported for this."""
    spec = importlib.util.find_spec(package)
    places = list(spec.submodule_search_locations or []) if spec is not None else []
    return Path(places[0]) if places else None


def files_of(folder: Path) -> list[Path]:
    """The files of a package that are its code."""
    return sorted(p for p in folder.rglob("*") if p.suffix in ENDINGS and "__pycache__" not in p.parts)
