"""The schema of a study file: what must exist. Reading one is study_file.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from orchestration import fields
from orchestration.ablation import Ablation
from orchestration.config import DataConfig, RunConfig, Section
from orchestration.constraint import Constraint
from orchestration.errors import ConfigError
from orchestration.layers import Flat, flatten, layered, nest
from orchestration.storage import Storage


class Param(Section):
    """What the search may do with one value: a range, or a list of choices."""

    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: tuple[Any, ...] | None = Field(None, min_length=1)
    when: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_kind(self) -> Param:
        if (self.choices is None) == (self.low is None or self.high is None):
            raise ValueError("give either low and high, or choices")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError(f"low {self.low:g} must be below high {self.high:g}")
        if self.log and (self.low is None or self.low <= 0):
            raise ValueError("log needs low above 0")
        return self


VALIDATION = Literal[
    "val/age_mae", "val/age_rmse", "val/age_cs5", "val/age_cs5_rounded", "val/gender_accuracy"
]
LOWER_IS_BETTER = (
    "val/age_mae", "val/age_rmse", "train/seconds", "train/memory_gib", "train/gpu_memory_gib",
)  # fmt: skip


class Aim(Section):
    """One of several objectives; what it costs to train may be one."""

    metric: VALIDATION | Literal["train/seconds", "train/memory_gib", "train/gpu_memory_gib"]
    mode: Literal["min", "max"] = "min"

    @model_validator(mode="after")
    def _towards_better(self) -> Aim:
        return _towards_better(self)


class Objective(Section):
    """What the search minimises or maximises; validation only. Trials are ranked by it.

    In YAML a list gives several objectives: the first is this one, the rest are its `others`.
    """

    metric: VALIDATION = "val/age_mae"
    mode: Literal["min", "max"] = "min"
    others: tuple[Aim, ...] = Field((), description="further objectives: the search then has a Pareto front")

    @model_validator(mode="before")
    @classmethod
    def _of_a_list(cls, given: Any) -> Any:
        if isinstance(given, (list, tuple)):
            if not given or not isinstance(given[0], dict):
                raise ValueError("a list of objectives holds mappings with metric and mode")
            return {**given[0], "others": list(given[1:])}
        return given

    @model_validator(mode="after")
    def _consistent(self) -> Objective:
        metrics = [self.metric, *(aim.metric for aim in self.others)]
        if len(set(metrics)) < len(metrics):
            raise ValueError("names a metric twice")
        return _towards_better(self)


Aimed = TypeVar("Aimed", Aim, Objective)


def _towards_better(aim: Aimed) -> Aimed:
    better = "min" if aim.metric in LOWER_IS_BETTER else "max"
    if aim.mode != better:
        raise ValueError(f"{aim.metric} is better when it is {better}imal; set objective.mode: {better}")
    return aim


class FromStudy(Section):
    """`study:NAME:5`: the best trials of an earlier study beside this one."""

    study: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    best: int = Field(1, ge=1, le=100_000)


StartFrom = Literal["run", "none"] | FromStudy | tuple[Literal["run"] | dict[str, Any], ...]


class Search(Section):
    """How the space is searched."""

    sampler: Literal["auto", "tpe", "gp", "cmaes", "nsga2", "random", "grid"] = "tpe"
    trials: int = Field(32, ge=1, le=1_000_000, description="at most; a grid ends with its last point")
    scheduler: Literal["asha", "hyperband", "median", "none"] = "asha"
    grace: int | None = Field(None, ge=1, description="epochs before one may be stopped; default a quarter")
    reduction: float = Field(3.0, gt=1, le=100, description="ASHA keeps one in this many at a rung")
    startup: int = Field(8, ge=1, description="random trials before TPE models anything")
    seed: int = Field(0, ge=0, le=2**31 - 1)
    start_from: StartFrom = Field("run", description="first trials: the file's own values, points, a study")
    constraints: tuple[str, ...] = Field((), description='such as "train/gpu_memory_gib <= 10"')

    @field_validator("start_from", mode="before")
    @classmethod
    def _read_start(cls, given: Any) -> Any:
        if isinstance(given, dict) and set(given) <= {"study", "best"}:
            return FromStudy.model_validate(given)
        if (
            isinstance(given, (list, tuple))
            and given
            and all(p == "run" or isinstance(p, dict) for p in given)
        ):
            return tuple(given)
        if isinstance(given, str):
            if given in ("run", "none"):
                return given
            prefix, _, rest = given.partition(":")
            name, _, best = rest.partition(":")
            if prefix == "study" and name and (best.isdigit() or not best):
                return FromStudy(study=name, best=int(best or 1))
        raise ValueError("give run, none, study:NAME, study:NAME:5, or a list of points (run or path: value)")

    @field_validator("constraints", mode="before")
    @classmethod
    def _one_is_enough(cls, given: Any) -> Any:
        return (given,) if isinstance(given, str) else given

    @field_validator("constraints")
    @classmethod
    def _readable(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        for text in given:
            Constraint.of(text)
        return given


class Budget(Section):
    """What the search may spend, over all its starts; then it ends with what it has, and `final` runs."""

    hours: float | None = Field(None, gt=0, description="wall time, the final seeds' included")
    gpu_hours: float | None = Field(None, gt=0, description="time of runs × their GPUs, final seeds included")
    epochs: int | None = Field(None, ge=1, description="trained by trials and final seeds")
    trials: int | None = Field(None, ge=1, description="begun")


class Final(Section):
    """Fresh seeds of the best trials; only these ever see the test part."""

    top_k: int = Field(1, ge=0, le=1000)
    seeds: int = Field(3, ge=1, le=1000)


class Resources(Section):
    """Where a run runs. Never part of what it is."""

    launcher: Literal["auto", "inline", "train"] = "auto"
    workers: int = Field(1, ge=1, le=4096)
    seconds_per_epoch: float | None = Field(None, gt=0, description="for --dry-run, where none is measured")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    gpus_per_worker: float | Literal["auto"] = "auto"
    cpus_per_worker: int = Field(1, ge=1, le=1024)
    concurrent: int | Literal["auto"] = "auto"
    pack: Literal["stated", "measured"] = Field(
        "stated", description="measured: the first trial alone for an epoch, then as many as memory holds"
    )
    compile: bool = Field(
        False, description="torch.compile a trained backbone; takes a while at each run's start"
    )
    channels_last: bool = Field(
        True, description="memory layout of a trained backbone; images come so from disk"
    )
    on_oom: Literal["fail", "halve_batch"] = Field(
        "fail", description="out of memory: fail, or try once more with the batch in two halves"
    )
    stall_minutes: float | Literal["auto"] = Field(
        "auto", description="no report for so long is a hang; auto: 10 of the longest epochs, 10 min at least"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Resources:
        if self.workers > 1 and self.launcher == "inline":
            raise ValueError("workers above 1 need launcher train or auto")
        if self.gpus_per_worker != "auto" and not 0 <= self.gpus_per_worker <= 16:
            raise ValueError("gpus_per_worker must be auto or between 0 and 16")
        if self.device == "cpu" and self.gpus_per_worker not in ("auto", 0):
            raise ValueError("device: cpu with gpus_per_worker above 0")
        if self.concurrent != "auto" and self.concurrent < 1:
            raise ValueError("concurrent must be auto or at least 1")
        if self.stall_minutes != "auto" and self.stall_minutes <= 0:
            raise ValueError("stall_minutes must be auto or above 0")
        return self


class Study(Section):
    """A whole study file. `run` is the resolved RunConfig's input, `space` what may change."""

    study: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="folder and MLflow name")
    run: dict[str, Any]
    space: dict[str, Param] = Field(default_factory=dict)
    objective: Objective = Objective()
    search: Search = Search()
    budget: Budget = Budget()
    final: Final = Final()
    ablation: Ablation | None = Field(None, description="variants to compare, for orchestration.ablate")
    resources: Resources = Resources()
    storage: str = Field(
        "runs", min_length=1, description="holds study folders: a folder, or s3://BUCKET/PREFIX"
    )
    experiment: str | None = Field(None, description="MLflow experiment; default the study's name")
    tracking_uri: str | None = Field(None, description="MLflow server; default an SQLite file")

    @model_validator(mode="before")
    @classmethod
    def _no_stopping_by_one_of_several(cls, given: Any) -> Any:
        """Several objectives have no scheduler: stopping by one of them would decide for the others."""
        objective = given.get("objective") if isinstance(given, dict) else None
        others = objective.get("others") if isinstance(objective, dict) else isinstance(objective, list)
        search = (given.get("search") or {}) if others else {}
        if others and isinstance(search, dict) and "scheduler" not in search:
            return {**given, "search": {**search, "scheduler": "none"}}
        return given

    @field_validator("study")
    @classmethod
    def _not_taken(cls, name: str) -> str:
        if name in ("features", "mlflow.db", "mlartifacts"):
            raise ValueError(f"{name} lies beside the studies already; choose another name")
        return name

    def config(self, sample: Mapping[str, Any] | None = None, seed: int | None = None) -> RunConfig:
        """The run with a sample of the space on top. Raises ConfigError."""
        layers: list[Mapping[str, Any]] = [flatten(self.run), sample or {}]
        if seed is not None:
            layers.append({"seed": seed})
        return run_config(layered([default_names(), *layers]))


def default_names() -> Flat:
    """`X.name` of every union's default class, so that a layer's change of class is seen."""
    values = RunConfig(data=DataConfig(root="")).model_dump(mode="json")
    return {path: value for path, value in flatten(values).items() if path.endswith(".name")}


def run_config(flat: Mapping[str, Any]) -> RunConfig:
    """A RunConfig from flat values. Raises ConfigError with every problem."""
    nested = nest(flat)
    try:
        return RunConfig.model_validate(nested)
    except ValidationError as error:
        raise ConfigError(fields.problems(error, RunConfig, nested), "run") from None


def dump(model: BaseModel) -> dict[str, Any]:
    """A JSON- and YAML-ready dictionary of a config."""
    return model.model_dump(mode="json", exclude_none=False)


def study_on_disk(storage: str, name: str) -> Study | None:
    """The study that a folder of `storage` holds, as it was started; None where there is none."""
    data = Storage(storage).get(f"{name}/study.yaml")
    if data is None:
        return None
    return Study.model_validate({**yaml.safe_load(data), "storage": storage})
