"""Reads a study file with the command line's values on top, and reports everything wrong at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from data import cache
from orchestration import fields
from orchestration.ablation_checks import ablation_problems
from orchestration.config import RunConfig
from orchestration.errors import ConfigError, UserError, nearest
from orchestration.layers import Flat, flatten, layered, nest, parse_overrides
from orchestration.space_checks import space_problems
from orchestration.study import Study, default_names

SECTIONS = ("run", "space", "objective", "search", "budget", "final", "ablation", "resources")
PATHS = ("data.root", "data.listing", "model.backbone.weights")


def load(space: str, overrides: Sequence[str] = ()) -> Study:
    """The study of a file or of a name in search_spaces/, with command-line values on top.

    Raises UserError (no such file, not YAML) or ConfigError (every wrong key and value at once).
    """
    path = find(space)
    sections = set(Study.model_fields)
    files = chain(path)
    unknown = [problem for file, raw in files for problem in _foreign(raw, file if file != path else None)]
    flat = parse_overrides(overrides)
    run = {k: v for k, v in flat.items() if k.split(".")[0] not in sections - {"run"}}
    study_level = {k: v for k, v in flat.items() if k not in run}
    run = {k.removeprefix("run."): v for k, v in run.items()}
    top: dict[str, Any] = {}
    for _, raw in files:
        top = _merge(top, {k: v for k, v in raw.items() if k in sections and k != "run"})
    runs = [flatten(raw.get("run") or {}) for _, raw in files]
    top["run"] = nest(absolute(layered([default_names(), *runs, run])))
    top["space"] = {k: v for k, v in (top.get("space") or {}).items() if k not in run}
    top = _merge(top, nest(study_level))
    top["storage"] = _absolute(top.get("storage", "runs"))
    top["ablation"] = _absolute_within(top.get("ablation"))
    return _checked(top, unknown, space if "://" in space else str(path))


def chain(path: Path) -> list[tuple[Path, dict[str, Any]]]:
    """A study file and the files it builds on, lowest first: what `base:` names, that file's base, and so on.

    A base is sought beside the file that names it, then in search_spaces/. Raises UserError for a file that
    is not there or no YAML, for a circle, and ConfigError for a section that is no mapping.
    """
    files: list[tuple[Path, dict[str, Any]]] = []
    while True:
        raw = _read(path)
        wrong = [
            f"{k}: expected a mapping, received {raw[k]!r}."
            for k in SECTIONS
            if raw.get(k) is not None and not isinstance(raw[k], (dict, list) if k == "objective" else dict)
        ]
        if wrong:
            raise ConfigError(wrong, str(path))
        base = raw.pop("base", None)
        files.insert(0, (path, raw))
        if base is None:
            return files
        if not isinstance(base, str):
            raise ConfigError([f"base: expected the name of a study file, received {base!r}."], str(path))
        beside = path.parent / base
        path = beside.resolve() if beside.is_file() else find(base, f"{path}: base")
        if any(path == known for known, _ in files):
            names = " → ".join(str(known) for known, _ in [*reversed(files), (path, raw)])
            raise UserError(f"base: these files build on each other in a circle: {names}")


def _foreign(raw: dict[str, Any], file: Path | None) -> list[str]:
    """A line for each key that no study file has; `file` is named where it is a base."""
    known = sorted({*Study.model_fields, "base"})
    where = f" (in {file})" if file is not None else ""
    return [f"{k}: unknown key{where}.{nearest(str(k), known)}" for k in raw if k not in known]


def absolute(run: Flat) -> Flat:
    """The paths of a run made absolute: a study goes on from any folder, and Ray's workers live elsewhere."""
    found: Flat = {path: _absolute(run[path]) for path in PATHS if path in run}
    return {**run, **found}


def _absolute(path: Any) -> Any:
    # synthetic:3000x48 and s3://… are names, not paths; a wrong type is the schema's to report.
    if not isinstance(path, str) or ":" in path or not path:
        return path
    return str(Path(path).expanduser().absolute())


def _absolute_within(node: Any, path: str = "") -> Any:
    """A section with the paths made absolute that its variants, levels and data sets give."""
    if isinstance(node, dict):
        return {key: _absolute_within(value, f"{path}.{key}") for key, value in node.items()}
    return _absolute(node) if path.endswith(tuple(f".{name}" for name in PATHS)) else node


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    both = {
        k: _merge(below[k], v)
        for k, v in above.items()
        if isinstance(v, dict) and isinstance(below.get(k), dict)
    }
    return {**below, **above, **both}


def _checked(top: dict[str, Any], unknown: list[str], where: str) -> Study:
    found = list(unknown)
    study: Study | None = None
    try:
        study = Study.model_validate(top)
    except ValidationError as error:
        found += fields.problems(error, Study, top)
    try:
        RunConfig.model_validate(top["run"])
    except ValidationError as error:
        found += fields.problems(error, RunConfig, top["run"])
    if not found and study is not None:
        found += space_problems(study) if study.ablation is None else ablation_problems(study)
    if found or study is None:
        raise ConfigError(found, where)
    return study


def find(space: str, asked: str = "--space") -> Path:
    """A path or address as given, or a file of search_spaces/ by its name. Raises UserError as `asked`."""
    if "://" in space:
        return cache.local(space)
    given = Path(space)
    library = Path(__file__).resolve().parent.parent / "search_spaces"
    for candidate in (given, library / space, library / f"{space}.yaml"):
        if candidate.is_file():
            return candidate.resolve()
    names = sorted(p.relative_to(library).as_posix() for p in library.rglob("*.yaml"))
    hint = nearest(space, names) or f" search_spaces/ has: {', '.join(names)}."
    raise UserError(f"{asked} {space}: no such file.{hint}")


def _read(path: Path) -> dict[str, Any]:
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path}: not readable as YAML: {error}") from error
    if not isinstance(raw, dict):
        raise UserError(f"{path}: expected a mapping with `study:` and `run:`, received {type(raw).__name__}")
    return raw
