"""Finished studies as their folders hold them, made without training: known errors on synthetic faces."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from data import splits
from data.faces import Faces
from data.protocols import Spec
from orchestration import comparisons, predictions
from orchestration.comparisons import Measured, Setting
from orchestration.records import Member
from orchestration.storage import Storage

ROOT = "synthetic:300x24"


def put_run(
    root: Path,
    member: Member,
    error: float,
    gender: bool = True,
    position: str = "rapl",
    split_seed: int = 0,
) -> np.ndarray:
    """A finished run whose test errors are `error` years large, with signs and spread of their own: [n]."""
    faces, spec = Faces.open(ROOT), Spec(seed=split_seed)
    split = splits.load(faces, spec)
    ids = split.test
    noise = np.random.default_rng([member.seed, len(member.name)]).normal(0, 1, len(ids))
    errors = error * np.where(np.arange(len(ids)) % 3, 1.0, -1.0) + noise
    age = faces.ages[ids].astype(float)
    predicted = age + errors
    nothing = np.full(len(ids), np.nan)
    columns = {
        "sample_id": ids,
        "age": age,
        "predicted_age": predicted,
        "position_age": np.round(predicted) + 1 if position != "none" else nothing,
        "gender": faces.genders[ids].astype(np.int64),
        "female_probability": np.where(faces.genders[ids] == 1, 0.8, 0.3) if gender else nothing,
    }
    head = {"name": "evr"}
    origin = predictions.Origin(
        "test", faces.name, faces.fingerprint, spec.used(), split.hash, head, "ab" * 32, member.seed, 2
    )
    storage = Storage(str(root)).child(member.name)
    kept = predictions.from_columns(origin, columns)
    predictions.write(storage, kept)
    test = {"age_mae": float(np.abs(errors).mean()), "count": float(len(ids))}
    audit = {"splits": "leak", "fine_tuning": "none found", "pretraining": "cannot be determined"}
    known = {
        "status": "complete",
        "test": test,
        "identity": "ab" * 32,
        "audit": {**audit, "reasons": "twins"},
    }
    member = Member(**{**member.__dict__, **known})
    storage.put_json("state.json", dict(member.__dict__))
    lines = [
        {"epoch": e, "val/age_mae": error + 2.0 / e, "best": error + 2.0 / e, "train/seconds": 1.5}
        for e in (1, 2, 3)
    ]
    storage.put("metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines).encode())
    storage.put_json("result.json", {"best_epoch": 3, "test": test, "time": "2026-01-01T00:00:00"})
    run = {
        "data": {"root": ROOT, "protocol": spec.protocol},
        "model": {
            "backbone": {"name": "small_ir", "weights": "small.pt"},
            "train_backbone": False,
            "age_head": head,
            "gender_head": gender,
            "position_head": {"name": position},
        },
        "seed": member.seed,
    }
    storage.put("resolved.yaml", yaml.safe_dump({"run": run}).encode())
    name = f"{member.name.replace('/', '-')}.json"
    Storage(str(root)).put_json(f"test_ledger/{name}", {"run": member.name})
    return errors


VARIANTS = {"fc": 6.0, "evr": 4.0, "evr+gp": 4.0, "evr+rapl": 3.5, "evr+rapl+gp": 3.4}


def ablation(root: Path, seeds: int = 3) -> Path:
    """An ablation of five variants over evr, with the results.json that the command leaves."""
    errors: dict[str, dict[int, np.ndarray]] = {name: {} for name in VARIANTS}
    for seed in range(seeds):
        for name, error in VARIANTS.items():
            cell = {"variant": name, "dataset": "", "split": 0}
            member = Member(f"cells/{name}-seed{seed}", seed=seed, cell=cell)
            position = "rapl" if "rapl" in name else "none"
            errors[name][seed] = np.abs(put_run(root, member, error, name.endswith("gp"), position))
    plan = {"design": "explicit", "base": "evr", "variants": {name: {} for name in VARIANTS}, "splits": 1}
    storage = Storage(str(root))
    storage.put(
        "study.yaml", yaml.safe_dump({"study": root.name, "ablation": plan}, sort_keys=False).encode()
    )
    setting = Setting(len(VARIANTS) - 1, 0.05, [str(i) for i in range(len(errors["evr"][0]))])
    measured = {n: Measured({s: float(e.mean()) for s, e in v.items()}, v) for n, v in errors.items()}
    compared = {
        n: comparisons.compare(measured["evr"], m, setting) for n, m in measured.items() if n != "evr"
    }
    judged = comparisons.judged(compared, setting)
    rows: list[dict[str, Any]] = [
        {
            "variant": n,
            "failed": 1 if n == "fc" else 0,
            "comparison": asdict(judged[n]) if n in judged else None,
        }
        for n in VARIANTS
    ]
    table = {
        "dataset": "",
        "base": "evr",
        "level": setting.level,
        "rows": rows,
        "effects": [],
        "notes": ["frozen backbone: not evidence for fine-tuning"],
    }
    storage.put_json("results.json", {"seeds_at_looks": [2, seeds], "tables": [table]})
    return root
