"""Batches on the device, as one worker sees them: images with augmentation, or frozen features."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data import cache, sampling
from data.faces import Faces, epoch_batches
from data.features import open_features
from data.rng import NoiseTable, uniforms
from data.splits import Split
from model.heads import positions
from orchestration.config import RunConfig
from orchestration.inputs import Inputs
from orchestration.workers import Workers

VIEW_STREAM = 11  # keeps the draw of a view apart from the draws of augmentation
EVALUATION_BATCH = 512
DTYPES = {"float32": torch.float32, "bfloat16": torch.float32, "float64": torch.float64}


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """The arithmetic in which a run of this precision trains and predicts."""
    if precision != "bfloat16":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


@dataclass(frozen=True)
class Batch:
    """One worker's share of a global batch.

    inputs: [b, 3, h, w] in [0, 1], or [b, channel] features; age: [b] years; gender: [b] codes;
    position: [b] index into the label set, -1 outside; sample_id: [b] row in the data set.
    `counts` is False where the global batch had no share for this worker: the row is only there
    to keep collective calls in step. `last`: [b] bool, whether the sample does not come again in the epoch,
    on any worker; None where each comes once.
    """

    inputs: Tensor
    noise: Tensor | None
    age: Tensor
    gender: Tensor
    position: Tensor
    sample_id: Tensor
    counts: bool
    last: Tensor | None = None

    def parts(self, count: int) -> list[Batch]:
        """The batch in so many parts of at least two samples, fewer where it is too small for that."""
        count = min(count, max(1, len(self.age) // 2))
        if count == 1:
            return [self]
        split = {
            name: torch.tensor_split(value, count)
            for name, value in vars(self).items()
            if isinstance(value, Tensor)
        }
        return [
            Batch(
                split["inputs"][i],
                None if self.noise is None else split["noise"][i],
                split["age"][i],
                split["gender"][i],
                split["position"][i],
                split["sample_id"][i],
                self.counts,
                None if self.last is None else split["last"][i],
            )
            for i in range(count)
        ]


def share(rows: np.ndarray, rank: int, count: int) -> tuple[np.ndarray, bool]:
    """The rows of a global batch that worker `rank` of `count` takes, and whether they count.

    Shares hold at least two rows (batch norm needs them), so a small last batch leaves some
    workers out; they get one row that does not count.
    """
    shares = min(count, max(1, len(rows) // 2))
    if rank >= shares:
        return rows[:1], False
    return np.array_split(rows, shares)[rank], True


class Batches:
    """Training and evaluation batches of one run. Reads only the parts it is asked for."""

    def __init__(
        self,
        config: RunConfig,
        faces: Faces,
        split: Split,
        workers: Workers,
        device: torch.device,
        inputs: Inputs,
    ) -> None:
        self.config = config
        self.faces = faces
        self.split = split
        self.workers = workers
        self.device = device
        self.dtype = DTYPES[config.train.precision]
        self.labels = inputs.labels
        labels = torch.tensor(self.labels, dtype=torch.float64)
        ages = torch.from_numpy(np.array(faces.ages, dtype=np.float64))
        self._age = ages.to(device, self.dtype)
        self._gender = torch.from_numpy(np.array(faces.genders, dtype=np.int64)).to(device)
        self.positions = positions(ages, labels).to(device)  # [n] index into the labels, -1 outside
        self._features: np.ndarray | None = None
        if inputs.features is not None:
            self._features = open_features(cache.local(inputs.features)).array
        self._chances = sampling.weights(faces.ages[split.train], config.data.sampling)
        self._augment = config.augment.build()

    @property
    def feature_channels(self) -> int | None:
        """Channels of the frozen features, or None where images are the input."""
        return None if self._features is None else int(self._features.shape[2])

    def feature_statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and sd of each channel over the identity view of the train part: [channel] each."""
        assert self._features is not None
        total = np.zeros(self._features.shape[2])
        square = np.zeros_like(total)
        for rows in np.array_split(self.split.train, max(1, len(self.split.train) // 4096)):
            block = np.asarray(self._features[rows, 0], dtype=np.float64)
            total += block.sum(0)
            square += (block**2).sum(0)
        mean = total / len(self.split.train)
        variance = square / len(self.split.train) - mean**2
        sd = np.sqrt(np.clip(variance, 0, None))
        return torch.from_numpy(mean), torch.from_numpy(np.where(sd > 0, sd, 1.0))

    def steps(self) -> int:
        """Global batches in one epoch."""
        return len(self._order(0))

    def capacity(self) -> int:
        """The most samples of the train part that one worker can get in a pass."""
        size = min(self.config.train.batch_size, len(self.split.train))
        largest = len(share(np.arange(size), 0, self.workers.count)[0])
        # A short last batch may have fewer shares, of at most three rows; a joined one is longer.
        return self.steps() * largest + 3 + self._smallest()

    def _smallest(self) -> int:
        """The fewest rows of a batch. SyncBatchNorm is a collective: every worker needs a share."""
        synchronised = self.config.model.batch_norm == "sync" and self.device.type == "cuda"
        return 2 * self.workers.count if synchronised else 2

    def _order(self, epoch: int) -> list[np.ndarray]:
        """The global batches of an epoch, as keys: row + k · faces for a row that came k times before.

        Repeats are augmented differently, since augmentation and noise are drawn by key.
        """
        size, seed, train = self.config.train.batch_size, self.config.seed, self.split.train
        if self.config.data.sampling == "uniform":
            return epoch_batches(train, size, seed, epoch, smallest=self._smallest())
        rows = sampling.drawn(train, self._chances, seed, epoch)
        keys = rows + len(self.faces) * sampling.occurrences(rows)
        return epoch_batches(keys, size, seed, epoch, shuffle=False, smallest=self._smallest())

    def train(self, epoch: int) -> Iterator[Batch]:
        """This worker's share of every global batch of an epoch, in the epoch's order."""
        noise = self._noise_table(epoch)
        order = self._order(epoch)
        times = self._times(order)
        for rows in order:
            mine, counts = share(rows, self.workers.rank, self.workers.count)
            extra = noise.rows(mine) if noise is not None else None
            batch = self._batch(mine, epoch, extra, counts)
            if times is not None:
                came, row = np.divmod(mine, len(self.faces))
                batch = replace(batch, last=torch.from_numpy(came == times[row] - 1).to(self.device))
            yield batch

    def _times(self, order: list[np.ndarray]) -> np.ndarray | None:
        """How often each face comes in an epoch, [n]; None where none comes twice."""
        if self.config.data.sampling == "uniform":
            return None
        return np.bincount(np.concatenate(order) % len(self.faces), minlength=len(self.faces))

    def evaluation(self, part: str) -> Iterator[Batch]:
        """This worker's share of a part, unaugmented, in row order."""
        rows: np.ndarray = getattr(self.split, part)[self.workers.rank :: self.workers.count]
        for start in range(0, len(rows), EVALUATION_BATCH):
            yield self._batch(rows[start : start + EVALUATION_BATCH], None, None, True)

    def _noise_table(self, epoch: int) -> NoiseTable | None:
        channels = self.feature_channels
        if channels is None or self.config.features.noise == 0:
            return None
        return NoiseTable(self.config.seed, epoch, channels, self.dtype, self.device)

    def _batch(self, keys: np.ndarray, epoch: int | None, noise: Tensor | None, counts: bool) -> Batch:
        if noise is not None:
            noise = noise * self.config.features.noise
        index = torch.from_numpy(keys % len(self.faces)).to(self.device)
        inputs = self._feature_rows(keys, epoch) if self._features is not None else self._images(keys, epoch)
        return Batch(
            inputs,
            noise,
            self._age[index],
            self._gender[index],
            self.positions[index],
            index,
            counts,
        )

    def _feature_rows(self, keys: np.ndarray, epoch: int | None) -> Tensor:
        assert self._features is not None
        views = self._features.shape[1]
        view: np.ndarray | int = 0
        if epoch is not None and views > 1:
            draws = uniforms(self.config.seed, epoch, keys, 1, stream=VIEW_STREAM)[:, 0]
            view = np.minimum((draws * views).astype(np.int64), views - 1)
        return self._moved(np.asarray(self._features[keys % len(self.faces), view]))

    def _images(self, keys: np.ndarray, epoch: int | None) -> Tensor:
        images = self._moved(self.faces.gather(keys % len(self.faces))).permute(0, 3, 1, 2) / 255
        if epoch is None:
            return self._augment.evaluation(images)
        return self._augment(images, keys, self.config.seed, epoch)

    def _moved(self, array: np.ndarray) -> Tensor:
        """The array on the device in the run's precision; uint8 crosses the bus, not floats."""
        tensor = torch.from_numpy(array)
        if self.device.type == "cuda":
            tensor = tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.dtype)
