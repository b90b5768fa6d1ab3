"""The whole network: backbone, neck and the heads of the three tasks (figure 1)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from model.backbones import IR50, Backbone, BackboneConfig, OnnxBackbone
from model.heads import AgeHead, AgeHeadConfig, Evr, GenderHead, OrCnn, positions
from model.necks import NeckConfig, NoNeck
from model.precision import at_least_float32
from model.rapl import PositionHead, PositionHeadConfig, Rapl
from model.settings import Settings
from model.streams import Streams


class Outputs(NamedTuple):
    """features [b, c] after the neck; age: its head's raw outputs; logits: gender [b, 2], position [b, n]."""

    features: Tensor
    age: Tensor
    gender: Tensor | None
    position: Tensor | None


class LossTerms(NamedTuple):
    """Sums of per-sample losses and how many samples they are over: add over workers, then divide."""

    age_sum: Tensor
    age_count: Tensor
    gender_sum: Tensor
    gender_count: Tensor
    position_sum: Tensor
    position_count: Tensor


def average_pool(feature_map: Tensor) -> Tensor:
    """feature_map: [b, c, h, w] → [b, c], averaged in at least float32."""
    return at_least_float32(feature_map).mean(dim=(2, 3))


class Network(nn.Module):
    """Three tasks on one backbone, or on its precomputed features (frozen mode: `feature_channels` is given).

    With `train_backbone: false` the pooled features are standardised by buffers, whether they are precomputed
    or come from a backbone held here, so that heads trained in frozen mode can later be put behind their
    backbone.
    """

    class Config(Settings):
        backbone: BackboneConfig = Field(default=IR50.Config(), description="images to features")
        train_backbone: bool = Field(
            default=True,
            description="fine-tune the backbone; false trains neck and heads on its fixed features",
        )
        neck: NeckConfig = Field(default=NoNeck.Config(), description="layers between features and heads")
        age_head: AgeHeadConfig = Field(default=Evr.Config(), description="how an age is estimated")
        gender_head: bool = Field(default=True, description="whether gender is a task")
        position_head: PositionHeadConfig = Field(
            default=Rapl.Config(), description="relative age position task"
        )
        batch_norm: Literal["local", "sync", "frozen"] = Field(
            default="sync",
            description="statistics of each worker, of all workers (the launcher converts the layers, "
            "on GPUs only) or the backbone's own, fixed",
        )

        @model_validator(mode="after")
        def _trainable(self) -> Self:
            if self.train_backbone and isinstance(self.backbone, OnnxBackbone.Config):
                raise ValueError("backbone onnx has no weights to train; set model.train_backbone: false")
            return self

    def __init__(
        self,
        config: Config,
        labels: Sequence[int],
        age_mean: float,
        age_std: float,
        feature_channels: int | None = None,
    ) -> None:
        """Build with random weights; those of a part depend on torch's generator and the part's name alone.

        Args:
            config: the components.
            labels: age labels in whole years, ascending, without repetition.
            age_mean, age_std: of the training ages, in years.
            feature_channels: width of precomputed features; none when the input is images.

        Raises:
            ValueError: if the labels are empty or not ascending.
        """
        super().__init__()
        if not labels or any(low >= high for low, high in pairwise(labels)):
            raise ValueError(f"labels must be ascending and at least one. Received: {list(labels)}")
        self.config = config
        streams = Streams()
        with streams.of("backbone"):
            self.backbone: Backbone | None = config.backbone.build() if feature_channels is None else None
        width = feature_channels if self.backbone is None else self.backbone.channels
        assert width is not None
        self.standardise = self.backbone is None or not config.train_backbone
        if self.backbone is not None and not config.train_backbone:
            self.backbone.requires_grad_(False)
        self._register_buffers(labels, width)
        with streams.of("neck"):
            self.neck = config.neck.build(width)
        features = self.neck.out_features
        with streams.of("age_head"):
            self.age_head: AgeHead = config.age_head.build(features, self.labels, age_mean, age_std)
        with streams.of("gender_head"):
            self.gender_head = GenderHead(features) if config.gender_head else None
        with streams.of("position_head"):
            self.position_head: PositionHead | None = config.position_head.build(features, self.labels)
        self.train()

    def _register_buffers(self, labels: Sequence[int], width: int) -> None:
        self.register_buffer("labels", torch.tensor(labels, dtype=torch.get_default_dtype()))
        self.labels: Tensor
        if self.standardise:
            self.register_buffer("feature_mean", torch.zeros(width))
            self.register_buffer("feature_std", torch.ones(width))
            self.feature_mean: Tensor
            self.feature_std: Tensor

    def train(self, mode: bool = True) -> Network:
        """As usual, but a fixed backbone, or one whose batch norm is frozen, keeps its statistics."""
        super().train(mode)
        if self.backbone is None:
            return self
        if not self.config.train_backbone:
            self.backbone.eval()
        elif self.config.batch_norm == "frozen":
            for module in self.backbone.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def set_feature_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Standardise features by mean and std, each [feature_channels], of the training part.

        A channel that never varies has std 0; it is divided by 1.

        Raises:
            ValueError: if features are not standardised here, a shape or a value is wrong.
        """
        if not self.standardise:
            raise ValueError("feature statistics belong to a network with train_backbone: false")
        for name, values in (("mean", mean), ("std", std)):
            if values.shape != self.feature_mean.shape or not bool(values.isfinite().all()):
                raise ValueError(
                    f"{name} must be {len(self.feature_mean)} finite values. Received: {list(values.shape)}"
                )
        if bool((std < 0).any()):
            raise ValueError(f"std must not be negative. Received: {float(std.min())}")
        self.feature_mean.copy_(mean)
        self.feature_std.copy_(torch.where(std > 0, std, 1.0))

    def set_label_counts(self, counts: Tensor) -> None:
        """Tell the age head the faces per label [n] of the training part; `or_cnn` weighs by them."""
        if isinstance(self.age_head, OrCnn):
            self.age_head.set_label_counts(counts)

    def forward(self, inputs: Tensor, noise: Tensor | None = None, own: Tensor | None = None) -> Outputs:
        """Raw outputs of all heads.

        Args:
            inputs: images [b, 3, h, w] RGB in [0, 1], or in frozen mode features [b, feature_channels].
            noise: [b, feature_channels] in standard deviations, added to the standardised features.
            own: [b] label whose reference the sample itself is, else −1; only for `exclude_self`.

        Raises:
            ValueError: if noise is given where features are not standardised, so that it would have no unit.
        """
        features = self._neck_inputs(inputs)
        if noise is not None:
            if not self.standardise:
                raise ValueError("feature noise needs train_backbone: false")
            features = features + noise
        features = at_least_float32(self.neck(features))
        return Outputs(
            features=features,
            age=self.age_head(features),
            gender=None if self.gender_head is None else self.gender_head(features),
            position=None if self.position_head is None else self.position_head(features, own),
        )

    def _neck_inputs(self, inputs: Tensor) -> Tensor:
        """[b, feature_channels]: pooled or given features, standardised if the backbone is fixed."""
        features = inputs if self.backbone is None else average_pool(self.backbone(inputs))
        return (features - self.feature_mean) / self.feature_std if self.standardise else features

    def losses(self, outputs: Outputs, age: Tensor, gender: Tensor) -> LossTerms:
        """Sums and counts of the three losses (equations 2, 3 and 7); 0 and 0 for an absent head.

        age: [b] years, exact. gender: [b] 0 male, 1 female, −1 unknown. Unknown genders and ages outside the
        labels enter neither sum nor count of their task. Before the first references the position loss is
        computed too, so that distributed training sees every parameter used; the caller leaves it out.
        """
        age_losses = self.age_head.loss(outputs.age, age)
        zero = age_losses.new_zeros(())
        gender_sum = gender_count = position_sum = position_count = zero
        if self.gender_head is not None and outputs.gender is not None:
            gender_sum = self.gender_head.loss(outputs.gender, gender).sum()
            gender_count = (gender >= 0).sum().to(zero.dtype)
        if self.position_head is not None and outputs.position is not None:
            position = positions(age, self.labels)
            position_sum = self.position_head.loss(outputs.position, position).sum()
            position_count = (position >= 0).sum().to(zero.dtype)
        age_count = zero + len(age)
        return LossTerms(age_losses.sum(), age_count, gender_sum, gender_count, position_sum, position_count)

    def predict_age(self, outputs: Outputs) -> Tensor:
        """Estimated age [b] in years."""
        return self.age_head.decode(outputs.age)

    def predict_position_age(self, outputs: Outputs) -> Tensor | None:
        """The label [b] in years at the likeliest position; none without a head or before its references."""
        if self.position_head is None or outputs.position is None or not self.position_head.ready:
            return None
        return self.labels[outputs.position.argmax(1)]
