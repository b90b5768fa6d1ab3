"""RunConfig: what one run is. Frozen, typed, and nothing in it that is not used.

The defaults are this project's recommendation; search_spaces/rapl.yaml starts from the paper's
values. Where and how fast a run happens (devices, workers, storage) is not part of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from data.augment import AugmentConfig, FaceSafe
from data.protocols import Spec
from model.network import Network
from model.references import MinError, ReferencesConfig

# Raised whenever a change of the code changes the numbers a run produces.
RESULT_VERSION = 3


class Section(BaseModel):
    """A part of the configuration: immutable, and strict about its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataConfig(Section):
    """Which faces, which of them are for what, and how often they are drawn."""

    root: str = Field(description="folder made by data.prepare, or synthetic:COUNTxSIZE")
    protocol: Literal[
        "image_random", "subject_exclusive", "folds", "leave_one_identity_out", "listed", "official"
    ] = "image_random"
    split_seed: int = Field(0, ge=0, description="belongs to the protocol; not a training seed")
    folds: Literal["balanced", "benchmark"] = Field(
        "balanced", description="of the protocol folds: five of our own, or AgeDB's published folders"
    )
    fold: int = Field(0, ge=0, description="which fold, or which person, is the test part")
    listing: str | None = Field(
        None, description="CSV of a published split: path, split; for folds: benchmark file, folder"
    )
    train_on: Literal["train", "val"] = Field(
        "train", description="of the protocol official: val trains on the validation people (CACD's 80)"
    )
    ages: tuple[int, int] | None = Field(None, description="lowest and highest age that take part, in years")
    calibration: bool = Field(False, description="keep half of the validation part for intervals")
    near_duplicates: Literal["together", "ignore"] = Field(
        "together", description="of image_random: whether near-duplicates stay on one side"
    )
    sampling: Literal["uniform", "inverse_sqrt", "lds"] = Field(
        "uniform", description="how training faces are drawn: each once, or rare ages more often"
    )

    @field_validator("ages")
    @classmethod
    def _ascend(cls, ages: tuple[int, int] | None) -> tuple[int, int] | None:
        if ages is not None and not 0 <= ages[0] < ages[1]:
            raise ValueError("give the lowest and the highest age, as in [15, 40]")
        return ages

    def spec(self) -> Spec:
        """What decides the split."""
        return Spec(
            self.protocol,
            self.split_seed,
            self.folds,
            self.fold,
            self.listing,
            self.train_on,
            self.ages,
            self.calibration,
            self.near_duplicates,
        )


class LossConfig(Section):
    """Weights of eq. (8): L = L_age + λ L_gender + μ L_position."""

    gender_weight: float = Field(1.0, ge=0, le=1e4, description="λ")
    position_weight: float = Field(1.0, ge=0, le=1e4, description="μ")


class AdamSettings(Section):
    """What both kinds of Adam have in common."""

    lr: float = Field(1e-4, gt=0, le=1, description="the backbone's rate when it is trained")
    head_lr_scale: float = Field(10.0, gt=0, le=1e5, description="neck and heads train at lr × this")
    head_lr: float = Field(3e-3, gt=0, le=1, description="the one rate of frozen mode")
    p_lr_scale: float = Field(1.0, gt=0, le=1e5, description="RAPL's P trains at the heads' rate × this")
    weight_decay: float = Field(0.0, ge=0, le=10)
    decay_all: bool = Field(False, description="decay norms, biases and P too (the paper does)")


class AdamL2(AdamSettings):
    """torch's Adam with coupled L2, as in the paper."""

    name: Literal["adam_l2"] = "adam_l2"


class AdamW(AdamSettings):
    """Adam with decoupled weight decay."""

    name: Literal["adamw"] = "adamw"


OptimizerConfig = Annotated[AdamL2 | AdamW, Field(discriminator="name")]


class OneCycle(Section):
    """Warm up to the rate, anneal to nearly nothing by the last step (Smith & Topin, 2018)."""

    name: Literal["one_cycle"] = "one_cycle"
    warmup: float = Field(0.3, gt=0, lt=1, description="share of the steps spent rising")


class Step(Section):
    """The rate times `gamma` after every `every` epochs (the paper: 0.1 and 10)."""

    name: Literal["step"] = "step"
    gamma: float = Field(0.1, gt=0, le=1)
    every: int = Field(10, ge=1)


class Constant(Section):
    """One rate throughout."""

    name: Literal["constant"] = "constant"


ScheduleConfig = Annotated[OneCycle | Step | Constant, Field(discriminator="name")]


class NoAverage(Section):
    """The weights of the epoch itself."""

    name: Literal["none"] = "none"


class Ema(Section):
    """Their exponential moving average over steps is validated and kept (Polyak & Juditsky, 1992)."""

    name: Literal["ema"] = "ema"
    epochs: float = Field(1.0, gt=0, le=1000, description="in which the share of a weight falls to 1/e")


AverageConfig = Annotated[NoAverage | Ema, Field(discriminator="name")]


class FeaturesConfig(Section):
    """Frozen mode's input, and which passes' features are kept for later analysis in any mode."""

    views: tuple[Literal["identity", "hflip"], ...] = Field(
        ("identity",), min_length=1, description="each epoch draws one view per face"
    )
    noise: float = Field(0.1, ge=0, le=10, description="sd of Gaussian noise, in units of a channel's sd")
    keep: Literal["none", "best", "every_n"] = Field(
        "none", description="training passes written with the run: the best epoch's, or every n-th"
    )
    keep_every: int = Field(5, ge=1, description="epochs between kept passes under every_n")


class TrainConfig(Section):
    """Length, batch and arithmetic."""

    epochs: int = Field(20, ge=1, le=10_000)
    batch_size: int = Field(64, ge=2, le=1_000_000, description="over all workers together")
    accumulate: int = Field(1, ge=1, le=1024, description="parts of a batch, done in turn to save memory")
    precision: Literal["float32", "bfloat16", "float64"] = "float32"


class RunConfig(Section):
    """One run: data, model, losses, optimiser and seed."""

    data: DataConfig
    model: Network.Config = Field(default_factory=Network.Config)
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = Field(default_factory=AdamL2)
    schedule: ScheduleConfig = Field(default_factory=OneCycle)
    augment: AugmentConfig = Field(default_factory=FaceSafe.Config)
    features: FeaturesConfig = FeaturesConfig()
    references: ReferencesConfig = Field(default_factory=MinError.Config)
    train: TrainConfig = TrainConfig()
    average: AverageConfig = Field(default_factory=NoAverage)
    seed: int = Field(0, ge=0, le=2**31 - 1, description="initialisation, order, augmentation, noise")

    @property
    def frozen(self) -> bool:
        """Whether the backbone's features are computed once instead of trained."""
        return not self.model.train_backbone


# What leaves every number as it is. Paths are replaced by hashes of what they point to.
# The settings of the split are in its hash, and only those that it depends on.
_OF_SPLIT = set(DataConfig.model_fields) - {"sampling"}
NOT_IDENTITY: Any = {"seed": True, "data": _OF_SPLIT, "features": {"keep", "keep_every"}}


def identity(config: RunConfig, inputs: Mapping[str, Any]) -> str:
    """A hex digest that two runs share exactly if they are the same experiment but for the seed.

    `inputs` names what paths point to: the data set's fingerprint, split hash and label set, and
    the SHA-256 of weights. Paths, seed, resources and storage do not take part.
    """
    values = config.model_dump(mode="json", exclude=NOT_IDENTITY)
    values["model"]["backbone"].pop("weights", None)
    if isinstance(config.average, NoAverage):
        del values["average"]  # what was run before there was a choice is the same experiment
    payload = {"config": values, "inputs": dict(inputs), "result_version": RESULT_VERSION}
    return hashlib.sha256(json.dumps(payload, sort_keys=True).encode()).hexdigest()
