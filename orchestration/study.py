"""The schema of a study file: what must exist. Reading one is study_file.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from orchestration import fields
from orchestration.ablation import Ablation
from orchestration.config import DataConfig, RunConfig, Section
from orchestration.errors import ConfigError
from orchestration.layers import Flat, flatten, layered, nest


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


class Objective(Section):
    """What the search minimises or maximises; validation only."""

    metric: Literal[
        "val/age_mae", "val/age_rmse", "val/age_cs5", "val/age_cs5_rounded", "val/gender_accuracy"
    ] = "val/age_mae"
    mode: Literal["min", "max"] = "min"

    @model_validator(mode="after")
    def _towards_better(self) -> Objective:
        better = "min" if self.metric in ("val/age_mae", "val/age_rmse") else "max"
        if self.mode != better:
            raise ValueError(f"{self.metric} is better when it is {better}imal; set objective.mode: {better}")
        return self


class Search(Section):
    """How the space is searched."""

    sampler: Literal["tpe", "random", "grid"] = "tpe"
    trials: int = Field(32, ge=1, le=1_000_000, description="at most; a grid ends with its last point")
    scheduler: Literal["asha", "none"] = "asha"
    grace: int | None = Field(None, ge=1, description="epochs before ASHA may stop; default a quarter")
    reduction: float = Field(3.0, gt=1, le=100, description="ASHA keeps one in this many at a rung")
    startup: int = Field(8, ge=1, description="random trials before TPE models anything")
    seed: int = Field(0, ge=0, le=2**31 - 1)
    start_from: Literal["run", "none"] = Field("run", description="first trial: the file's own values")


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
    compile: bool = Field(
        False, description="torch.compile a trained backbone; takes a while at each run's start"
    )
    channels_last: bool = Field(
        True, description="memory layout of a trained backbone; images come so from disk"
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
        return self


class Study(Section):
    """A whole study file. `run` is the resolved RunConfig's input, `space` what may change."""

    study: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="folder and MLflow name")
    run: dict[str, Any]
    space: dict[str, Param] = Field(default_factory=dict)
    objective: Objective = Objective()
    search: Search = Search()
    final: Final = Final()
    ablation: Ablation | None = Field(None, description="variants to compare, for orchestration.ablate")
    resources: Resources = Resources()
    storage: str = Field("runs", min_length=1, description="folder that holds study folders")
    experiment: str | None = Field(None, description="MLflow experiment; default the study's name")
    tracking_uri: str | None = Field(None, description="MLflow server; default SQLite in storage")

    @field_validator("study")
    @classmethod
    def _not_taken(cls, name: str) -> str:
        if name in ("features", "mlflow.db", "mlartifacts"):
            raise ValueError(f"{name} lies beside the studies already; choose another name")
        return name

    @field_validator("storage")
    @classmethod
    def _is_a_folder(cls, storage: str) -> str:
        if "://" in storage:
            raise ValueError("must be a folder, of this machine or shared; object stores do not work yet")
        return storage

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
