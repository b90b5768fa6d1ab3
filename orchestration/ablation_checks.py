"""Everything that can be wrong with `ablation:` and needs no data, found before anything starts."""

from __future__ import annotations

from typing import Any

from orchestration.cells import Arm, arms, sub_study
from orchestration.errors import ConfigError
from orchestration.space_checks import SHARED_ONLY, space_problems
from orchestration.study import Study


def ablation_problems(study: Study) -> list[str]:
    """Lines for variants that no run can be, that are the same run, or that cannot move the age estimate."""
    assert study.ablation is not None
    found: list[str] = []
    known: dict[tuple[str, str], Arm] = {}
    for arm in arms(study, lambda config: 1):
        where = f"ablation: {arm.label}"
        try:
            config = study.config(arm.values)
        except ConfigError as error:
            found += [f"{where}: {problem}" for problem in error.problems]
            continue
        if study.ablation.splits == "folds" and config.data.protocol not in (
            "folds",
            "leave_one_identity_out",
        ):
            return [
                f"ablation.splits: folds needs data.protocol folds or leave_one_identity_out; received"
                f" {config.data.protocol}"
            ]
        same = known.setdefault((config.model_dump_json(), arm.dataset), arm)
        if same is not arm and same.split == arm.split:
            found.append(f"{where}: is the same run as {same.label}; one of them misses a value")
        if study.space:
            found += [f"{where}: {problem}" for problem in space_problems(sub_study(study, arm, ""))]
    return found or _frozen_reach(study) or _one_folder_each(study)


def _frozen_reach(study: Study) -> list[str]:
    """Without a shared trainable layer, gender, positions and their weights cannot change the age."""
    found = []
    for arm in arms(study, lambda config: 1):
        config = study.config(arm.values)
        alone = config.frozen and config.model.neck.name == "none"
        if alone and arm.values and all(path.startswith(SHARED_ONLY) for path in arm.values):
            found.append(
                f"ablation: {arm.label}: cannot affect age with a frozen backbone and no neck; set"
                " model.neck.name: mlp"
            )
    return found


def _one_folder_each(study: Study) -> list[str]:
    """Joined names must stay apart: `a-b` on `c` and `a` on `b-c` would share a folder."""
    seen: dict[str, dict[str, Any]] = {}
    found = []
    for arm in arms(study, lambda config: 1):
        name = arm.label.replace("+", "_")
        if seen.setdefault(name, arm.key) != arm.key:
            found.append(f"ablation: two arms would share the folder {name}; rename a variant or data set")
    return found
