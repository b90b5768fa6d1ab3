"""Reads a study file with the command line's values on top, and reports everything wrong at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from orchestration import fields
from orchestration.config import RunConfig
from orchestration.errors import ConfigError, UserError, nearest
from orchestration.layers import Flat, flatten, layered, nest, parse_overrides
from orchestration.space_checks import space_problems
from orchestration.study import Study, default_names

SECTIONS = ("run", "space", "objective", "search", "final", "resources")
PATHS = ("data.root", "model.backbone.weights")


def load(space: str, overrides: Sequence[str] = ()) -> Study:
    """The study of a file or of a name in search_spaces/, with command-line values on top.

    Raises UserError (no such file, not YAML) or ConfigError (every wrong key and value at once).
    """
    path = find(space)
    raw = _read(path)
    sections = set(Study.model_fields)
    top = {k: v for k, v in raw.items() if k in sections}
    unknown = [f"{k}: unknown key.{nearest(str(k), sorted(sections))}" for k in raw if k not in sections]
    unknown += [
        f"{k}: expected a mapping, received {v!r}."
        for k, v in top.items()
        if k in SECTIONS and not isinstance(v, dict) and v is not None
    ]
    if len(unknown) > sum(k not in sections for k in raw):
        raise ConfigError(unknown, str(path))
    flat = parse_overrides(overrides)
    run = {k: v for k, v in flat.items() if k.split(".")[0] not in sections - {"run"}}
    study_level = {k: v for k, v in flat.items() if k not in run}
    run = {k.removeprefix("run."): v for k, v in run.items()}
    file_run = flatten(top.get("run") or {})
    top["run"] = nest(absolute(layered([default_names(), file_run, run])))
    top["space"] = {k: v for k, v in (top.get("space") or {}).items() if k not in run}
    top = _merge(top, nest(study_level))
    top["storage"] = _absolute(top.get("storage", "runs"))
    return _checked(top, unknown, str(path))


def absolute(run: Flat) -> Flat:
    """The paths of a run made absolute: a study goes on from any folder, and Ray's workers live elsewhere."""
    found: Flat = {path: _absolute(run[path]) for path in PATHS if path in run}
    return {**run, **found}


def _absolute(path: Any) -> Any:
    # synthetic:3000x48 and s3://… are names, not paths; a wrong type is the schema's to report.
    if not isinstance(path, str) or ":" in path or not path:
        return path
    return str(Path(path).expanduser().absolute())


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
        found += space_problems(study)
    if found or study is None:
        raise ConfigError(found, where)
    return study


def find(space: str) -> Path:
    """A path as given, or a file of search_spaces/ by its name. Raises UserError."""
    given = Path(space)
    library = Path(__file__).resolve().parent.parent / "search_spaces"
    for candidate in (given, library / space, library / f"{space}.yaml"):
        if candidate.is_file():
            return candidate.resolve()
    names = sorted(p.relative_to(library).as_posix() for p in library.rglob("*.yaml"))
    hint = nearest(space, names) or f" search_spaces/ has: {', '.join(names)}."
    raise UserError(f"--space {space}: no such file.{hint}")


def _read(path: Path) -> dict[str, Any]:
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path}: not readable as YAML: {error}") from error
    if not isinstance(raw, dict):
        raise UserError(f"{path}: expected a mapping with `study:` and `run:`, received {type(raw).__name__}")
    return raw
