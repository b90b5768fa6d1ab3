"""The study as Optuna's own file in the study folder, for optuna-dashboard: derived, never ahead.

`optuna-dashboard runs/STUDY/optuna.journal` opens it. The driver alone writes it, after the folder, and
nothing is read from it but to see whether it still says what the folder says. Of a study in an object
store, which appends nothing, the driver writes a file of its own and puts copies of it.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from orchestration import frozen_trials
from orchestration.errors import MachineError
from orchestration.folder import StudyFolder
from orchestration.records import Member

NAME = "optuna.journal"
COPY_SECONDS = 60.0  # some megabytes for a thousand trials


class _OneWriter:
    """No lock: the study's own lock lets one driver in, and a killed one would leave Optuna's behind."""

    def acquire(self) -> bool:
        """Always ours."""
        return True

    def release(self) -> None:
        """Nothing was taken."""


class Journal:
    """Optuna's study in the folder. `sync` brings one trial up to date with the folder."""

    def __init__(self, folder: StudyFolder) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._folder = folder
        self._own = None if folder.storage.local is not None else tempfile.TemporaryDirectory(prefix="rapl-")
        self._path = (folder.storage.local or Path(self._own.name if self._own else "")) / NAME
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._copied = time.monotonic()
        if self._own is not None:
            self._path.write_bytes(folder.storage.get(NAME) or b"")
        self._study = self._open()
        # Our trial → the storage's id: asking for one by its number walks through all of them.
        self._ids: dict[int, int] = {}
        for trial in self._study.get_trials(deepcopy=False):
            self._ids[trial.user_attrs[frozen_trials.NUMBER]] = trial._trial_id
        for member in folder.members("trials"):
            self.sync(member)
        self.copy()

    def copy(self) -> None:
        """Put the file beside the study's other files, where it does not lie there already."""
        if self._own is not None:
            self._folder.storage.put(NAME, self._path.read_bytes())
            self._copied = time.monotonic()

    def _open(self) -> optuna.Study:
        """The file as it is, if all it says is so; else a new one from the folder."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                if not self._path.read_bytes().endswith(b"\n"):
                    raise ValueError("a line was cut")  # Optuna would read it, and write on behind it
                study = optuna.load_study(study_name=self._folder.study.study, storage=self._storage())
                if not ahead(self._folder, study):
                    return study
            except Exception as error:
                # Half a line of a killed driver, or no file of Optuna's: it is only derived.
                optuna.logging.get_logger("rapl").debug("%s is made anew: %r", self._path, error)
            fresh = self._path.with_name(f".{NAME}.partial")
            try:
                fresh.unlink(missing_ok=True)
                study = optuna.create_study(
                    storage=self._storage(fresh),
                    study_name=self._folder.study.study,
                    directions=frozen_trials.directions(self._folder.study),
                )
                for member in self._folder.members("trials"):
                    study.add_trial(frozen_trials.frozen(self._folder, member))
                fresh.replace(self._path)
            except OSError as error:
                raise MachineError(f"{self._path}: cannot write: {error.strerror or error}") from error
            return optuna.load_study(study_name=self._folder.study.study, storage=self._storage())

    def _storage(self, path: Path | None = None) -> JournalStorage:
        return JournalStorage(JournalFileBackend(str(path or self._path), lock_obj=_OneWriter()))

    def sync(self, member: Member) -> None:
        """Write what the folder has of a trial, and of those before it, and the file has not.

        Raises MachineError (a full disk).
        """
        try:
            for number in range(len(self._ids), member.number):
                earlier = self._folder.member(f"trials/{number:04d}")
                if earlier is not None and number not in self._ids:
                    self._add(earlier)
            self._sync(member)
            if time.monotonic() - self._copied > COPY_SECONDS:
                self.copy()
        except OSError as error:
            raise MachineError(f"{self._path}: cannot write: {error.strerror or error}") from error

    def _sync(self, member: Member) -> None:
        if member.number not in self._ids:
            return self._add(member)
        trial = self._study._storage.get_trial(self._ids[member.number])
        if trial.state.is_finished():
            return None
        wanted = frozen_trials.frozen(self._folder, member)
        live = Trial(self._study, trial._trial_id)
        if len(wanted.values or [0]) == 1 and not self._folder.study.objective.others:
            for epoch, value in wanted.intermediate_values.items():
                if epoch not in trial.intermediate_values:
                    live.report(value, epoch)
        if wanted.state.is_finished():
            frozen_trials.describe_end(live, wanted)
            told = wanted.values if wanted.state == TrialState.COMPLETE else None
            self._study.tell(live, told, state=wanted.state)
        return None

    def _add(self, member: Member) -> None:
        made = frozen_trials.frozen(self._folder, member)
        storage, study = self._study._storage, self._study._study_id
        self._ids[member.number] = storage.create_new_trial(study, template_trial=made)


def differences(folder: StudyFolder, study: optuna.Study) -> list[str]:
    """How Optuna's study differs from the folder's trials, in words; empty where they are equal."""
    found = []
    members = {member.number: member for member in folder.members("trials")}
    trials = {t.user_attrs[frozen_trials.NUMBER]: t for t in study.get_trials(deepcopy=False)}
    found += [f"{number}: not in Optuna's study" for number in sorted(set(members) - set(trials))]
    found += [f"{number}: only in Optuna's study" for number in sorted(set(trials) - set(members))]
    for number in sorted(set(members) & set(trials)):
        wanted, have = (_facts(t) for t in (frozen_trials.frozen(folder, members[number]), trials[number]))
        found += [f"{number}: {k}: {have[k]} for {wanted[k]}" for k in wanted if wanted[k] != have[k]]
    return found


def ahead(folder: StudyFolder, study: optuna.Study) -> bool:
    """Whether the file says what the folder does not: it is written again then. Behind is made up for."""
    members = {member.number: member for member in folder.members("trials")}
    for trial in study.get_trials(deepcopy=False):
        member = members.get(trial.user_attrs[frozen_trials.NUMBER])
        if member is None:
            return True
        wanted, have = _facts(frozen_trials.frozen(folder, member)), _facts(trial)
        if trial.state.is_finished() and wanted != have:
            return True
        known = wanted["intermediate_values"]
        more = any(known.get(epoch) != value for epoch, value in have["intermediate_values"].items())
        if more or wanted["params"] != have["params"]:
            return True
    return False


def _facts(trial: FrozenTrial) -> dict[str, Any]:
    return {
        "state": trial.state,
        "params": trial.params,
        "distributions": trial.distributions,
        "values": trial.values,
        "intermediate_values": trial.intermediate_values,
        "constraints": trial.constraints,
        "user_attrs": trial.user_attrs,
    }
