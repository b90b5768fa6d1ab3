"""What an ablation came to: its cells' test errors read from the study folder, compared, told and stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data import splits
from data.faces import Faces
from orchestration import comparisons, predictions
from orchestration.ablation import Ablation
from orchestration.comparisons import Comparison, Estimated, Measured, Setting
from orchestration.folder import StudyFolder
from orchestration.records import Member
from orchestration.statistics import Values, mean_sd

Seeds = dict[int, dict[int, Member]]  # seed → split → finished cell


@dataclass(frozen=True)
class Row:
    """A variant: test MAE over its units, what else its runs measured, and its comparison with the base."""

    variant: str
    units: int
    mean: float
    sd: float
    metrics: dict[str, tuple[float, float]]  # test metric → mean and sd over cells
    failed: int
    comparison: Comparison | None


@dataclass(frozen=True)
class Table:
    """One data set's comparison; `notes` say what its numbers rest on."""

    dataset: str
    base: str
    unit: str
    images: int
    people: int
    level: float
    rows: list[Row]
    effects: list[Estimated]
    notes: list[str]


def tables(folder: StudyFolder) -> list[Table]:
    """The tables of every data set, from the cells that have finished; empty before the first has."""
    ablation = folder.study.ablation
    assert ablation is not None
    members = [m for m in folder.members("cells") if m.cell]
    names = list(ablation.datasets) or [""]
    family = len(ablation.made().compared) * len(names)
    found: list[tuple[Setting, _Data]] = []
    for name in names:
        mine = [m for m in members if m.cell["dataset"] == name]
        if any(m.test for m in mine):
            data = _Data(folder, ablation, name, mine)
            found.append((data.setting(family), data))
    compared: dict[str, Comparison] = {}
    for setting, data in found:
        compared |= {f"{data.name}/{k}": c for k, c in data.compared(setting).items()}
    if not found:
        return []
    judged = comparisons.judged(compared, found[0][0])  # one family over all data sets
    return [data.table(setting, judged) for setting, data in found]


class _Data:
    """The finished cells of one data set."""

    def __init__(self, folder: StudyFolder, ablation: Ablation, name: str, members: Sequence[Member]) -> None:
        self.name = name
        self._folder = folder
        self._ablation = ablation
        self._design = ablation.made()
        self._members = members
        self._done = [m for m in members if m.test]
        config = folder.study.config(self._done[0].params)
        self._faces = Faces.open(config.data.root)
        self._split = splits.load(self._faces, config.data.spec())
        self._frozen = config.frozen
        pooled = ablation.splits == "folds"
        self._folds = splits.fold_count(self._faces, config.data.spec()) if pooled else 1
        self._rows: NDArray[np.int64] | None = None  # sample ids that all units share
        self.measured = {v: self._measured(self._by_seed(v)) for v in self._design.variants}
        self.measured = {v: m for v, m in self.measured.items() if m.mae}

    @property
    def _of_splits(self) -> bool:
        return isinstance(self._ablation.splits, int) and self._ablation.splits > 1

    def _by_seed(self, variant: str) -> Seeds:
        found: Seeds = {}
        for member in self._done:
            if member.cell["variant"] == variant:
                found.setdefault(member.seed, {})[int(member.cell["split"])] = member
        return found

    def _measured(self, cells: Seeds) -> Measured:
        if self._of_splits:
            by_split: dict[int, list[float]] = {}
            for folds in cells.values():
                for split, member in folds.items():
                    by_split.setdefault(split, []).append((member.test or {})["age_mae"])
            return Measured({split: float(np.mean(values)) for split, values in by_split.items()})
        errors = {seed: self._errors(folds) for seed, folds in cells.items()}
        whole = {seed: values for seed, values in errors.items() if values is not None}
        if self._ablation.splits == "folds":
            return Measured({seed: float(values.mean()) for seed, values in whole.items()}, whole)
        mae = {seed: (folds[0].test or {})["age_mae"] for seed, folds in cells.items()}
        return Measured(mae, whole)

    def _errors(self, folds: Mapping[int, Member]) -> Values | None:
        """Absolute errors in the order of sample_id, an image in several folds by its mean; None unless all
        folds are done.
        """
        if len(folds) < self._folds:
            return None
        parts = [predictions.read(self._folder.storage.child(m.name), "test") for m in folds.values()]
        read = [part for part in parts if part is not None]
        if len(read) < len(parts):
            return None
        rows = np.concatenate([part.column("sample_id") for part in read])
        errors = np.concatenate([np.abs(p.column("predicted_age") - p.column("age")) for p in read])
        rows, codes = np.unique(rows, return_inverse=True)
        if self._rows is None:
            self._rows = rows
        if not np.array_equal(rows, self._rows):
            return None
        pooled: Values = np.bincount(codes, errors) / np.bincount(codes)
        return pooled

    def setting(self, family: int) -> Setting:
        """What this data set's comparisons have in common."""
        identities = self._faces.identities
        overlap = len(self._split.test) / len(self._split.train) if self._of_splits else 0.0
        rows = [] if self._rows is None else self._rows.tolist()
        unit = "split" if self._of_splits else "seed"
        return Setting(family, self._ablation.alpha, [identities[row] for row in rows], overlap, unit)

    def compared(self, setting: Setting) -> dict[str, Comparison]:
        """Comparisons with the base of the variants that share a unit with it."""
        base = self.measured.get(self._design.base, Measured({}))
        return {
            v: comparisons.compare(base, self.measured[v], setting)
            for v in self._design.compared
            if v in self.measured and base.mae.keys() & self.measured[v].mae.keys()
        }

    def table(self, setting: Setting, judged: Mapping[str, Comparison]) -> Table:
        """The finished table."""
        rows = []
        for variant, measured in self.measured.items():
            mean, sd = mean_sd(list(measured.mae.values()))
            cells = [m for m in self._members if m.cell["variant"] == variant]
            failed = sum(m.status == "failed" for m in cells)
            metrics = _spread_of([m.test for m in cells if m.test])
            comparison = judged.get(f"{self.name}/{variant}")
            rows.append(Row(variant, len(measured.mae), mean, sd, metrics, failed, comparison))
        wanted, alpha = self._design.effects, self._ablation.alpha
        estimated = comparisons.effects(wanted, self.measured, alpha, setting.overlap)
        images = len(self._split.test) if self._rows is None else len(self._rows)
        return Table(
            self.name,
            self._design.base,
            setting.unit,
            images,
            setting.people,
            setting.level,
            rows,
            estimated,
            self._notes(setting),
        )

    def _notes(self, setting: Setting) -> list[str]:
        notes = []
        if self._of_splits:
            notes.append(
                f"units are random splits that overlap: Nadeau–Bengio variance, n_test/n_train ="
                f" {setting.overlap:.2f}; each is the mean over its seeds"
            )
        if self._ablation.splits == "folds":
            notes.append("test predictions of all folds pooled, each image once; training parts overlap")
        if self._frozen:
            notes.append("frozen backbone: not evidence for fine-tuning")
        return notes


def _spread_of(tests: Sequence[Mapping[str, float]]) -> dict[str, tuple[float, float]]:
    keys = sorted(set().union(*tests)) if tests else []
    return {key: mean_sd([t[key] for t in tests if key in t]) for key in keys if key != "age_mae"}


def store(folder: StudyFolder, found: Sequence[Table]) -> list[int]:
    """Write `results.json`; return the numbers of seeds at which the comparison was looked at."""
    ablation = folder.study.ablation
    assert ablation is not None
    before = folder.storage.get_json("results.json") or {}
    looks = [*before.get("seeds_at_looks", [])]
    if ablation.seeds not in looks:
        looks.append(ablation.seeds)
    folder.storage.put_json(
        "results.json", {"seeds_at_looks": looks, "tables": [_plain(asdict(t)) for t in found]}
    )
    return looks


def _plain(value: Any) -> Any:
    """JSON has no NaN or infinity: they become null."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
