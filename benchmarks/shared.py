"""What the benchmarks share: the parts of a data set as features, and how numbers are printed."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

import torch
from torch import Tensor

from data import splits
from data.errors import DataError
from data.faces import Faces
from data.features import open_features
from data.protocols import Spec
from orchestration.errors import UserError


@dataclass(frozen=True)
class Part:
    """x: standardised features [k, c]; age: [k] years; gender: [k] codes, -1 unknown."""

    x: Tensor
    age: Tensor
    gender: Tensor


def find_features(faces: Faces, given: Path) -> Path:
    """The feature file `given`, or the one of this data set in the folder `given`. Raises DataError."""
    candidates = [given] if given.is_file() else sorted(given.glob("*.arrow"))
    for path in candidates:
        metadata = open_features(path).metadata
        if metadata.get("fingerprint") == faces.fingerprint and metadata["views"][0] == "identity":
            return path
    raise DataError(f"{given}: no features of {faces.root}; orchestration.train --space utkface makes them")


def load(data: Path, features: Path) -> tuple[dict[str, Part], Tensor]:
    """The parts of the fixed image_random split, standardised by train, and the labels [n]."""
    faces = Faces.open(data)
    split = splits.load(faces, Spec())
    array = open_features(find_features(faces, features)).array[:, 0]
    center, scale = array[split.train].mean(0), array[split.train].std(0)
    x = torch.from_numpy((array - center) / scale.clip(1e-12))
    age, gender = torch.tensor(faces.ages), torch.tensor(faces.genders).long()
    rows = {name: torch.from_numpy(getattr(split, name)) for name in splits.PARTS}
    parts = {name: Part(x[index], age[index], gender[index]) for name, index in rows.items()}
    return parts, torch.tensor(faces.labels, dtype=torch.float32)


def final_scores(study: Path, fingerprint: str) -> dict[str, list[float]]:
    """Test MAE of a study's finished final seeds, by trial. Raises DataError if none is of this data set."""
    scores: dict[str, list[float]] = defaultdict(list)
    for path in sorted(study.glob("finals/*/state.json")):
        state = json.loads(path.read_text())
        if state["fingerprint"] == fingerprint and state["test"]:
            scores[path.parent.name.split("-")[0]].append(state["test"]["age_mae"])
    if not scores:
        raise DataError(f"{study}: no finished final seeds of this data set; run orchestration.tune first")
    return scores


def spread(values: list[float]) -> str:
    """`mean ± sd`, or the one value."""
    return f"{mean(values):.3f} ± {stdev(values):.3f}" if len(values) > 1 else f"{values[0]:.3f}"


def command(main: Callable[[], None]) -> None:
    """Run a benchmark; what is missing or damaged is said on stderr, with exit code 2."""
    try:
        main()
    except (DataError, UserError) as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
