"""The cells of an ablation: variant × data set × split × seed, each a run of the study."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestration.config import RunConfig, identity
from orchestration.errors import UserError
from orchestration.layers import Flat, flatten, layered, nest
from orchestration.records import ENDED, Member
from orchestration.study import Study

if TYPE_CHECKING:
    from orchestration.folder import StudyFolder
    from orchestration.inputs import Inputs


@dataclass(frozen=True)
class Arm:
    """A variant on a split of a data set: what a search inside it is for, and what its seeds repeat."""

    variant: str
    dataset: str  # "" where the file names none
    split: int  # of `splits`, or the fold
    values: Flat  # on top of `run:`
    label: str  # such as evr-fgnet-fold3

    @property
    def key(self) -> dict[str, Any]:
        """What a cell's state says of it."""
        return {"variant": self.variant, "dataset": self.dataset, "split": self.split}


def arms(study: Study, folds: Callable[[RunConfig], int]) -> list[Arm]:
    """Every arm, the variants of one split next to each other; `folds` counts those of a run's protocol."""
    ablation = study.ablation
    assert ablation is not None
    made = []
    for dataset, on_data in (ablation.datasets or {"": {}}).items():
        for split, on_split in enumerate(_splits(study, on_data, folds)):
            for variant, on_variant in ablation.values().items():
                values = layered([on_data, on_split, on_variant])
                word = "fold" if ablation.splits == "folds" else "split"
                parts = [variant, dataset, f"{word}{split}" if on_split else ""]
                made.append(Arm(variant, dataset, split, values, "-".join(filter(None, parts))))
    return made


def _splits(study: Study, on_data: Flat, folds: Callable[[RunConfig], int]) -> list[Flat]:
    """What each split puts on top of a data set's values; nothing for a single one."""
    assert study.ablation is not None
    splits = study.ablation.splits
    if splits == 1:
        return [{}]
    config = study.config(on_data)
    if splits == "folds":
        return [{"data.fold": fold} for fold in range(folds(config))]
    return [{"data.split_seed": config.data.split_seed + i} for i in range(splits)]


def seeds(study: Study) -> list[int]:
    """The cells' seeds; where every arm is searched, seeds that no trial used."""
    assert study.ablation is not None
    first = study.config().seed + bool(study.space)
    return list(range(first, first + study.ablation.seeds))


def cells(study: Study, arms: Sequence[Arm], tuned: Mapping[str, Flat] | None = None) -> list[Member]:
    """A member for every arm and seed, seed by seed so that pairs end together; `tuned` by arm's label."""
    found = tuned or {}
    return [
        Member(
            f"cells/{arm.label}-seed{seed}",
            params=layered([arm.values, found.get(arm.label, {})]),
            seed=seed,
            cell=arm.key,
        )
        for seed in seeds(study)
        for arm in arms
    ]


def missing(folder: StudyFolder, wanted: Sequence[Member]) -> list[Member]:
    """The cells that have not ended; a killed one goes on with its own record."""
    known = {member.name: member for member in folder.members("cells")}
    return [
        known.get(member.name, member)
        for member in wanted
        if known.get(member.name, member).status not in ENDED
    ]


def require_same(folder: StudyFolder, inputs: Callable[[RunConfig], Inputs]) -> None:
    """Raise UserError if an ended cell was run on other data, weights or code than its pair would be now."""
    for member in folder.members("cells"):
        config = folder.study.config(member.params, member.seed)
        if member.status in ENDED and member.identity != identity(config, inputs(config).for_identity()):
            raise UserError(
                f"{folder.storage.address(member.name)}: was run with other data, weights or code than now,"
                " so the cells still to come would not be its pairs; choose another name (study=NAME), or"
                " start over (--fresh)"
            )


def sub_study(study: Study, arm: Arm, storage: str) -> Study:
    """The search inside an arm, in a storage of its own: the file's `space:` and `search:` on its values."""
    run = nest(layered([flatten(study.run), arm.values]))
    update: dict[str, Any] = {
        "study": arm.label.replace("+", "_"),
        "run": run,
        "storage": storage,
        "ablation": None,
        "experiment": study.experiment or study.study,
    }
    return study.model_copy(update=update)
