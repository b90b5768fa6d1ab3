"""Reference strategies that choose one sample per age, and the union of all strategies."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from model.passes import Candidates, Pass, lowest, merged, sums
from model.reference_base import Exchange, ReferenceOptions, Selection, Strategy
from model.reference_means import ClassMean, ErrorWeighted, GenderBalanced, Kernel, MeanOfK, mean, summed


class SingleOptions(ReferenceOptions):
    """Options of a strategy whose reference is one sample's feature."""

    exclude_self: bool = Field(
        default=False,
        description="a sample is never its own reference: for it the runner-up of its age takes the place",
    )

    @model_validator(mode="after")
    def _no_average(self) -> Self:
        if self.exclude_self and self.ema > 0:
            raise ValueError(
                "exclude_self needs ema: 0, since an average over epochs is nobody's own feature"
            )
        return self


class Single(Strategy):
    """The sample of each age with the lowest score, of equals the one with the lowest id."""

    def __init__(self, options: SingleOptions) -> None:
        super().__init__(options)
        self.exclude_self = options.exclude_self

    @abstractmethod
    def score(self, pass_: Pass, rows: Tensor, labels: Tensor, exchange: Exchange, seed: int) -> Tensor:
        """[m] for the usable rows [m]; finite."""

    def select(self, pass_: Pass, labels: Tensor, exchange: Exchange, seed: int) -> Selection:
        rows = pass_.usable()
        score = self.score(pass_, rows, labels, exchange, seed)
        mine = lowest(pass_, rows, score, len(labels), 2 if self.exclude_self else 1)
        best = merged([Candidates(*part) for part in exchange(tuple(mine))])
        first, runner_up = best.features[:, 0], best.features[:, -1]
        # The only sample of its age stays its own reference: there is no other.
        alone = best.score[:, -1].isinf().unsqueeze(1)
        return Selection(
            first, best.score[:, 0].isfinite(), best.sample_id[:, 0], torch.where(alone, first, runner_up)
        )


class MinError(Single):
    """Per age the sample with the lowest error (Algorithm 1).

    The published code draws among equals; the lowest id makes runs repeatable on any number of workers.
    """

    class Config(SingleOptions):
        name: Literal["min_error"] = "min_error"

        def build(self) -> MinError:
            return MinError(self)

    def score(self, pass_: Pass, rows: Tensor, labels: Tensor, exchange: Exchange, seed: int) -> Tensor:
        return pass_.error[rows]


class Medoid(Single):
    """The sample nearest to its age's mean feature, by squared Euclidean distance; two exchanges."""

    class Config(SingleOptions):
        name: Literal["medoid"] = "medoid"

        def build(self) -> Medoid:
            return Medoid(self)

    def score(self, pass_: Pass, rows: Tensor, labels: Tensor, exchange: Exchange, seed: int) -> Tensor:
        total = sums(pass_, rows, torch.ones_like(pass_.error[rows]), len(labels))
        centre = mean(*summed(exchange, *total), torch.float64).features
        distance = centre.new_empty(len(rows))
        for start in range(0, len(rows), 8192):
            block = rows[start : start + 8192]
            gap = pass_.features[block].double() - centre[pass_.position[block]]
            distance[start : start + 8192] = gap.square().sum(1)
        # In float32: an age's two samples are equally far from their mean, and rounding must not decide.
        return distance.float()


class Random(Single):
    """A random sample of each age, drawn anew at every refresh: the control for choosing at all."""

    class Config(SingleOptions):
        name: Literal["random"] = "random"

        def build(self) -> Random:
            return Random(self)

    def score(self, pass_: Pass, rows: Tensor, labels: Tensor, exchange: Exchange, seed: int) -> Tensor:
        return hashed_uniforms(pass_.sample_id[rows], seed)


class Shuffled(MinError):
    """Algorithm 1's references with their ages permuted: the control for references meaning their age."""

    class Config(ReferenceOptions):
        name: Literal["shuffled"] = "shuffled"

        def build(self) -> Shuffled:
            return Shuffled(self)

    def __init__(self, options: ReferenceOptions) -> None:
        super().__init__(SingleOptions(**options.model_dump(exclude={"name"})))

    def select(self, pass_: Pass, labels: Tensor, exchange: Exchange, seed: int) -> Selection:
        # Filled before it is permuted, so that an interpolation is between neighbouring ages.
        chosen = self._filled(super().select(pass_, labels, exchange, seed), labels, None)
        chosen = chosen._replace(present=torch.ones_like(chosen.present))
        order = hashed_uniforms(torch.arange(len(labels), device=chosen.features.device), seed).argsort()
        return Selection(*(column[order] for column in chosen))


def hashed_uniforms(ids: Tensor, seed: int) -> Tensor:
    """[m] float64 in [0, 1), a pure function of each id and the seed (splitmix64's finaliser)."""
    x = ids + _signed(seed * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15)
    x = (x ^ _right(x, 30)) * _signed(0xBF58476D1CE4E5B9)
    x = (x ^ _right(x, 27)) * _signed(0x94D049BB133111EB)
    x = x ^ _right(x, 31)
    return _right(x, 11).double() * 2.0**-53


def _right(x: Tensor, bits: int) -> Tensor:
    """A logical shift: int64's own shift would copy the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _signed(word: int) -> int:
    word &= (1 << 64) - 1
    return word - (1 << 64) if word >> 63 else word


ReferencesConfig = Annotated[
    MinError.Config
    | MeanOfK.Config
    | ClassMean.Config
    | Medoid.Config
    | Random.Config
    | Shuffled.Config
    | ErrorWeighted.Config
    | GenderBalanced.Config
    | Kernel.Config,
    Field(discriminator="name"),
]
