"""What a run reads, found and checked before anything starts: data set, split, weights, features."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from data import cache, splits
from data.errors import DataError
from data.faces import Faces
from model import weights
from model.errors import WeightsError
from orchestration import verdict
from orchestration.config import RunConfig
from orchestration.errors import ConfigError, UserError


@dataclass(frozen=True)
class Inputs:
    """Absolute paths and addresses of a run's inputs, and the hashes that say what they are."""

    data: str
    fingerprint: str
    split_hash: str
    labels: tuple[int, ...]
    weights: str | None = None
    weights_sha256: str | None = None
    features: str | None = None
    audit: dict[str, str] = field(default_factory=dict)  # what is known of leaks (verdict.py)
    name: str = ""  # of the data set

    def for_identity(self) -> dict[str, Any]:
        """What takes part in a run's identity: hashes and labels, no paths."""
        values = asdict(self)
        return {k: values[k] for k in ("fingerprint", "split_hash", "labels", "weights_sha256")}


def resolve(config: RunConfig) -> Inputs:
    """Open, check and hash everything but the features. Raises ConfigError with every problem."""
    found: list[str] = []
    faces = split = path = None
    try:
        faces = Faces.open(config.data.root)
        split = splits.load(faces, config.data.spec())
    except DataError as error:
        found.append(f"data.{'root' if faces is None else 'protocol'}: {error}")
    try:
        path = _weights(config)
    except (DataError, WeightsError, UserError) as error:
        found.append(f"model.backbone.weights: {error}")
    if found or faces is None or split is None:
        raise ConfigError(found, "inputs")
    return Inputs(
        data=config.data.root if cache.named(config.data.root) else str(faces.root),
        fingerprint=faces.fingerprint,
        split_hash=split.hash,
        labels=splits.labels_within(faces.labels, split.spec),
        weights=_address(config, path),
        name=faces.name,
        weights_sha256=file_sha256(str(path), path.stat().st_mtime_ns) if path is not None else None,
        audit=verdict.verdict(faces, split, path),
    )


@lru_cache(maxsize=64)
def file_sha256(path: str, modified: int) -> str:
    """SHA-256 of a file in hex; `modified` makes a changed file a new question."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _weights(config: RunConfig) -> Path | None:
    """The weights file, loaded once into the backbone to see that it fits. None where none is named."""
    backbone = config.model.backbone
    if backbone.weights is None:
        if config.frozen:
            raise UserError(
                "missing; features of a frozen backbone without pretrained weights mean nothing."
                " Give a checkpoint or set model.train_backbone=true"
            )
        return None
    path = cache.local(backbone.weights)
    weights.check(backbone, path)
    return path


def _address(config: RunConfig, path: Path | None) -> str | None:
    """The weights as a worker on any machine opens them; None where there are none."""
    given = config.model.backbone.weights
    if path is None or given is None:
        return None
    return str(given) if cache.named(given) else str(path)


class Prepared:
    """The inputs of every config of a study: resolved, checked, and features computed, once."""

    def __init__(self, configs: Iterable[RunConfig], features: Callable[[RunConfig, Inputs], str]) -> None:
        """`features` gives path or address of the feature file of a run whose backbone is frozen."""
        self._known: dict[str, Inputs] = {}
        self._features = features
        for config in configs:
            key = _key(config)
            if key not in self._known:
                self._known[key] = resolve(config)

    def compute(self, configs: Iterable[RunConfig]) -> None:
        """Have every feature file made that these runs read."""
        for config in configs:
            found = self._known[_key(config)]
            if config.frozen and found.features is None:
                self._known[_key(config)] = replace(found, features=self._features(config, found))

    def inputs(self, config: RunConfig) -> Inputs:
        """The inputs of one run."""
        return self._known[_key(config)]


def _key(config: RunConfig) -> str:
    parts = {
        "data": config.data.model_dump(mode="json"),
        "backbone": config.model.backbone.model_dump(mode="json"),
        "train_backbone": config.model.train_backbone,
        "views": config.features.views,
    }
    return json.dumps(parts, sort_keys=True)
