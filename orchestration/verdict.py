"""What is known of leaks into a run's test part: by its split, by earlier fine-tuning, by pretraining.

Three-valued each (data/verdicts.py), worked out once when a study is opened.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data import verdicts
from data.faces import Faces
from data.splits import Split
from data.verdicts import LEAK, NONE, UNKNOWN
from model import weights
from orchestration.audit_line import PARTS

RANDOM = "random weights"  # what a checkpoint's origin says that it started from


def verdict(faces: Faces, split: Split, checkpoint: Path | None) -> dict[str, str]:
    """Return `splits`, `fine_tuning` and `pretraining`, a verdict each, and `reasons` in one sentence each.

    `checkpoint` is the weights file that the run starts from, None for random weights.
    """
    origin = _origin(checkpoint)
    found = {
        "splits": verdicts.of_split(faces, split),
        "fine_tuning": _fine_tuning(faces, split, origin),
        "pretraining": _pretraining(checkpoint, origin),
    }
    reasons = "; ".join(f"{PARTS[name]}: {', '.join(v.reasons)}" for name, v in found.items())
    return {**{name: v.verdict for name, v in found.items()}, "reasons": reasons}


def _origin(checkpoint: Path | None) -> Mapping[str, Any] | None:
    """What one of our checkpoints says of its training data; None for anybody else's."""
    if checkpoint is None or checkpoint.suffix == ".onnx":
        return None
    origin = weights.read(checkpoint).get("origin")
    return origin if isinstance(origin, Mapping) else None


def _fine_tuning(faces: Faces, split: Split, origin: Mapping[str, Any] | None) -> verdicts.Verdict:
    """The run trains on its own train part; what else, the checkpoint's origin says."""
    if origin is None:
        return verdicts.Verdict(NONE, ("on the train part alone",))
    name = str(origin.get("data"))
    if origin.get("fingerprint") == faces.fingerprint:
        if json.loads(str(origin.get("split", "{}"))).get("hash") == split.hash:
            return verdicts.Verdict(NONE, ("the checkpoint saw the same train part",))
        return verdicts.Verdict(LEAK, (f"the checkpoint was trained on another split of {name}",))
    told = verdicts.known(faces, verdicts.against_name(str(origin.get("fingerprint"))))
    if told is not None:
        return verdicts.Verdict(told.verdict, (f"the checkpoint was trained on {name}", *told.reasons))
    advice = f"python -m data.audit {faces.root} --against its folder tells"
    return verdicts.Verdict(UNKNOWN, (f"the checkpoint was trained on {name}; {advice}",))


def _pretraining(checkpoint: Path | None, origin: Mapping[str, Any] | None) -> verdicts.Verdict:
    random = checkpoint is None or (origin is not None and origin.get("started_from") == RANDOM)
    return pretraining(random)


def pretraining(random: bool) -> verdicts.Verdict:
    """What is known of what a network saw before its fine-tuning, which may have begun at random weights."""
    if random:
        return verdicts.Verdict(NONE, ("it began with random weights",))
    return verdicts.Verdict(UNKNOWN, ("the people that the pretrained weights saw are not known",))
