"""What an ablation runs: its arms on the data that is there, their searches, and the plan before."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median, stdev
from typing import TYPE_CHECKING

from data import splits
from data.errors import DataError
from data.faces import Faces
from orchestration import ablation_text, cells
from orchestration.cells import Arm
from orchestration.config import RunConfig
from orchestration.console import duration
from orchestration.errors import ConfigError, NothingFinished
from orchestration.layers import Flat
from orchestration.records import Records
from orchestration.space import input_variants
from orchestration.storage import Storage
from orchestration.study import Study

if TYPE_CHECKING:
    from orchestration.placement import Placement
    from orchestration.session import Opened


def arms_of(study: Study) -> list[Arm]:
    """Every arm, with the folds that its data set has. Raises ConfigError where it cannot be opened."""
    try:
        return cells.arms(study, _folds)
    except DataError as error:
        raise ConfigError([f"data.root: {error}"], f"study {study.study}") from None


def _folds(config: RunConfig) -> int:
    return splits.fold_count(Faces.open(config.data.root), config.data.spec())


def configs(study: Study, arms: Sequence[Arm]) -> list[RunConfig]:
    """A config for everything that decides what some cell or trial reads."""
    found = [study.config(arm.values) for arm in arms]
    if study.space:
        found += [config for arm in arms for config in input_variants(cells.sub_study(study, arm, ""))]
    return found


def search_arms(opened: Opened, placement: Placement, arms: Sequence[Arm]) -> dict[str, Flat]:
    """Search the space inside every arm with the same budget; the best values by arm's label.

    Each search is a study of its own below `searches/`, and goes on after a kill as any search does. Raises
    NothingFinished for an arm without one finished trial.
    """
    from orchestration import final_seeds, plan, provenance, search
    from orchestration.engine import Engine
    from orchestration.folder import StudyFolder
    from orchestration.tracking import Tracker

    best: dict[str, Flat] = {}
    for number, arm in enumerate(arms, 1):
        sub = cells.sub_study(opened.study, arm, opened.folder.storage.address("searches"))
        folder = StudyFolder(sub)
        folder.begin(opened.prepared.inputs(sub.config()))
        print(f"search {number}/{len(arms)} inside {arm.label}: {plan.missing(folder)[0]} trials to run")
        with (
            Tracker(folder, ["trials"], provenance.tags()) as tracker,
            plan.console(folder) as console,
        ):
            search.run(Engine(folder, opened.prepared, placement, console, tracker))
            tracker.summary = final_seeds.summary(folder)
        ranked = plan.ranked(folder)
        if not ranked:
            raise NothingFinished(f"{folder.storage.root}: no trial of {arm.label} finished")
        best[arm.label] = ranked[0].params
    return best


def plan_lines(study: Study, arms: Sequence[Arm]) -> list[str]:
    """What would run, what it would cost, and what could be detected."""
    ablation = study.ablation
    assert ablation is not None
    records = Records(Storage(study.storage).child(study.study))
    seeds = cells.seeds(study)
    groups = {(arm.dataset, arm.split) for arm in arms}
    variants = len(ablation.made().variants)
    words = "folds, pooled" if ablation.splits == "folds" else "splits"
    factors = f"{variants} variants × {len(groups)} data sets and {words} × {len(seeds)} seeds"
    lines = [f"ablation {study.study}: {len(arms) * len(seeds)} cells = {factors}"]
    lines += ablation_text.design_lines(ablation)
    if study.space:
        trials = len(arms) * study.search.trials
        lines.append(f"a search of {study.search.trials} trials inside every arm: {trials} trials")
    config = study.config(arms[0].values)
    lines += _cost(study, arms, records, config.train.epochs)
    faces = Faces.open(config.data.root)
    split = splits.load(faces, config.data.spec())
    of_splits = isinstance(ablation.splits, int) and ablation.splits > 1
    overlap = len(split.test) / len(split.train) if of_splits else 0.0
    units = int(ablation.splits) if of_splits else len(seeds)
    sd, source = _sd(study, records)
    lines += ablation_text.power_lines(ablation, units, overlap, sd, source)
    rows = range(len(faces)) if ablation.splits == "folds" else split.test.tolist()
    people = {faces.identities[row] for row in rows} - {None}
    return lines + ablation_text.people_lines(len(people))


def _cost(study: Study, arms: Sequence[Arm], records: Records, epochs: int) -> list[str]:
    """Time left by the cells that have run, else by what was stated."""
    done = [m for m in records.members("cells") if m.status == "complete" and m.ended]
    left = len(arms) * len(cells.seeds(study)) - len(done)
    pace = study.resources.seconds_per_epoch
    if done:
        each = median((m.ended or 0.0) - m.started for m in done)
    elif pace is not None:
        each = pace * epochs
    else:
        return [
            f"cost: {left} cells; their time is known once one has run;"
            " resources.seconds_per_epoch=S states it"
        ]
    source = f"median of {len(done)} that ran" if done else "stated"
    return [
        f"cost: {left} cells × {each:.1f} s ({source}) = {duration(left * each)} one at a time; divide by how"
        " many run at once"
    ]


def _sd(study: Study, records: Records) -> tuple[float | None, str]:
    """The sd of paired differences: the largest of variants with three pairs, else what the file expects."""
    ablation = study.ablation
    assert ablation is not None
    base = ablation.made().base
    known: dict[tuple[str, str, int], dict[str, float]] = {}
    for member in records.members("cells"):
        if member.test and ablation.splits == 1:
            key = (member.cell["dataset"], "", member.seed)
            known.setdefault(key, {})[member.cell["variant"]] = member.test["age_mae"]
    found = []
    for variant in ablation.made().compared:
        pairs = [v[variant] - v[base] for v in known.values() if variant in v and base in v]
        if len(pairs) >= 3:
            found.append(stdev(pairs))
    if found:
        return max(found), f"sd {max(found):.3g} years, the largest measured so far"
    if ablation.expected_sd is not None:
        return ablation.expected_sd, f"sd {ablation.expected_sd:g} years, the file's ablation.expected_sd"
    return None, "no cells have run and ablation.expected_sd is not given"
