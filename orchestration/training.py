"""The one training loop, as a stepper: `Training(...).step()` is one epoch. Imports no Ray.

Notable: losses are sums over known labels divided by the count over all workers; references are
selected over all workers' samples at an epoch's end (Algorithm 1); no random state exists, so a
run continued from a checkpoint gives the numbers of one that was never interrupted.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from data import splits
from data.faces import Faces
from data.progress import Progress
from model.network import LossTerms, Network, Outputs
from orchestration import optim
from orchestration.averaging import Averaged
from orchestration.batches import Batch, Batches, autocast
from orchestration.building import build
from orchestration.config import Ema, RunConfig
from orchestration.inputs import Inputs
from orchestration.kernels import PLAIN, Kernels, prepare
from orchestration.position import PositionTask
from orchestration.prediction_pass import PredictionPass
from orchestration.scores import Scores
from orchestration.seeds import seed_of
from orchestration.verdict import RANDOM
from orchestration.workers import Workers

# A look at the sums waits for the device, so it is not taken after every step.
CHECK_STEPS = 50


class Diverged(RuntimeError):
    """The loss became NaN or infinite."""


class Training:
    """One run in one worker. `step()` trains an epoch and validates; `evaluate()` scores a part."""

    def __init__(
        self, config: RunConfig, inputs: Inputs, device: torch.device, kernels: Kernels = PLAIN
    ) -> None:
        self.config = config
        self.inputs = inputs
        self.device = device
        self.workers = Workers()
        self.epoch = 0
        faces = Faces.open(inputs.data)
        split = splits.load(faces, config.data.spec())
        if split.hash != inputs.split_hash:
            raise RuntimeError(f"{inputs.data}: the split changed since this run was planned")
        self.batches = Batches(config, faces, split, self.workers, device, inputs)
        self.network = build(config, inputs, self.batches)
        if self.network.backbone is not None:
            prepare(self.network.backbone, kernels)
        self.module: nn.Module = self.network
        if self.workers.count > 1:
            with warnings.catch_warnings():
                # Its successor, forward_sync_buffers, is not in the oldest torch that is supported.
                warnings.simplefilter("ignore", FutureWarning)
                self.module = DistributedDataParallel(self.network, broadcast_buffers=False)
        self.optimizer = optim.optimizer(config, self.network)
        self.schedule = optim.Schedule(config, self.optimizer, self.batches.steps())
        self.position = PositionTask(config, self.network, self.batches, self.workers)
        average = config.average
        steps = self.batches.steps()
        self.averaged = Averaged(self.network, average.epochs, steps) if isinstance(average, Ema) else None

    @property
    def evaluated(self) -> Network:
        """What is validated, tested and kept: the network that is trained, or the average of its weights."""
        return self.network if self.averaged is None else self.averaged.network

    @property
    def finished(self) -> bool:
        """Whether all epochs are done."""
        return self.epoch >= self.config.train.epochs

    def step(self, progress: Progress | None = None) -> dict[str, float]:
        """Train one epoch, choose the next references, validate. Returns the epoch's metrics.

        `progress` is advanced by each batch's images. Raises Diverged if the loss is not finite.
        """
        start = time.perf_counter()
        self.position.begin()
        self.network.train()
        sums = torch.zeros(6, dtype=torch.float64, device=self.device)
        for index, batch in enumerate(self.batches.train(self.epoch)):
            self._seed_dropout(index)
            sums += self._update(batch).double()
            self.schedule.after_step()
            if progress is not None:
                progress.advance(len(batch.age))
            if self.averaged is not None:
                self.averaged.after_step()
            if index % CHECK_STEPS == CHECK_STEPS - 1:
                self._require_finite(self.workers.sum(sums.clone()), index + 1)
        self.schedule.after_epoch()
        losses = self._train_losses(self.workers.sum(sums))
        seconds = time.perf_counter() - start
        self._average_batch_norm()
        if self.averaged is not None:
            self.averaged.after_epoch()
        scores = self.score("val")
        validation = scores.metrics()
        self.position.refresh(self.epoch, validation["age_mae"], self._clean_pass())
        self.epoch += 1
        images = len(self.batches.split.train)
        return {
            "epoch": self.epoch,
            **losses,
            **{f"val/{name}": value for name, value in validation.items()},
            **self._diagnostics(scores),
            "train/learning_rate": self.optimizer.param_groups[-1]["lr"],
            "train/seconds": seconds,
            "train/images_per_second": images / seconds,
        }

    def _seed_dropout(self, index: int) -> None:
        """Key dropout by step and worker. torch.manual_seed would format a stack: 0.1 ms of a 4 ms step."""
        seed = seed_of(self.config.seed, "dropout", self.epoch, index, self.workers.rank)
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            with torch.cuda.device(self.device):
                torch.cuda.manual_seed(seed)

    def _update(self, batch: Batch) -> Tensor:
        """One optimiser step. Returns this worker's sums and counts of the three losses: [6]."""
        # A worker without a share must not move its batch-norm statistics.
        if self.network.training != batch.counts:
            self.network.train(batch.counts)
        known = self.workers.sum(self._known(batch))
        self.optimizer.zero_grad(set_to_none=True)
        done: list[tuple[Batch, Outputs, Tensor]] = []
        for part in batch.parts(self.config.train.accumulate):
            with self._autocast():
                outputs: Outputs = self.module(part.inputs, part.noise, self.position.own(part))
            terms = self.network.losses(outputs, part.age, part.gender)
            mine = _stacked(terms) * (1.0 if batch.counts else 0.0)
            self._joint(mine, known).backward()  # type: ignore[no-untyped-call]
            done.append((part, outputs, mine.detach()))
        self.position.drop_gradients()
        self.optimizer.step()
        for part, outputs, _ in done if batch.counts else ():
            self.position.record(part, outputs)
        return torch.stack([mine for _, _, mine in done]).sum(0)

    def _known(self, batch: Batch) -> Tensor:
        """How many labels of each task this worker's share has: [3]. They are known before the losses."""
        network = self.network
        genders = (batch.gender >= 0).sum() if network.gender_head is not None else 0
        places = (batch.position >= 0).sum() if network.position_head is not None else 0
        counts = [torch.as_tensor(n, device=self.device) for n in (len(batch.age), genders, places)]
        return torch.stack(counts).to(self.batches.dtype) * (1.0 if batch.counts else 0.0)

    def _joint(self, mine: Tensor, known: Tensor) -> Tensor:
        """Eq. (8) with each mean taken over the workers' union; DDP averages, hence the factor."""
        means = mine[0::2] / known.clamp(min=1)
        position = self.config.loss.position_weight if self.position.active else 0.0
        weights = [1.0, self.config.loss.gender_weight, position]
        return (means * means.new_tensor(weights)).sum() * self.workers.count

    def _autocast(self) -> AbstractContextManager[Any]:
        return autocast(self.config.train.precision, self.device)

    def _average_batch_norm(self) -> None:
        """Give every worker the mean of their batch-norm statistics, so that all validate one model."""
        if self.workers.count == 1:
            return
        for network in dict.fromkeys((self.network, self.evaluated)):
            for name, buffer in network.named_buffers():
                if name.endswith(("running_mean", "running_var")):
                    self.workers.sum(buffer).div_(self.workers.count)

    def _train_losses(self, sums: Tensor) -> dict[str, float]:
        values = (sums[0::2] / sums[1::2].clamp(min=1)).tolist()
        named = dict(zip(("age", "gender", "position"), values, strict=True))
        self._require_finite(sums, self.batches.steps())
        if not self.config.model.gender_head:
            del named["gender"]
        if not self.position.active:
            del named["position"]
        return {f"train/{name}_loss": value for name, value in named.items()}

    def _require_finite(self, sums: Tensor, step: int) -> None:
        """Raise Diverged, in every worker alike, where a loss of the epoch's first steps is not finite."""
        if not bool(torch.isfinite(sums).all()):
            tasks = ("age", "gender", "position")
            losses = {task: f"{float(value):.4g}" for task, value in zip(tasks, sums[0::2], strict=True)}
            words = ", ".join(f"{task} {value}" for task, value in losses.items())
            raise Diverged(f"loss is not finite in epoch {self.epoch + 1}, by step {step}: sums {words}")

    def _diagnostics(self, scores: Scores) -> dict[str, float]:
        """CORAL's crossing ranks; RAPL's gain and its references' effect on the validation position loss."""
        found = {f"age_head/{k}": v for k, v in self.evaluated.age_head.diagnostics().items()}
        head = self.evaluated.position_head
        effect = scores.reference_effect()
        if head is not None and effect is not None:
            found |= {f"rapl/{k}": v for k, v in {**head.diagnostics(), "reference_effect": effect}.items()}
        return found

    @torch.no_grad()
    def _clean_pass(self) -> Iterator[tuple[Batch, Outputs]]:
        """The train part in evaluation mode, without augmentation or noise."""
        self.network.eval()
        for batch in self.batches.evaluation("train"):
            with self._autocast():
                yield batch, self.network(batch.inputs)

    def evaluate(self, part: str) -> dict[str, float]:
        """Metrics of a part over all workers, each sample counted once."""
        return self.score(part).metrics()

    @torch.no_grad()
    def score(self, part: str, keep: PredictionPass | None = None) -> Scores:
        """Everything a part says of the network, over all workers; `keep` takes this worker's predictions."""
        network = self.evaluated.eval()
        scores = Scores(network, seed_of(self.config.seed, "shuffle", self.epoch), part == "test")
        for batch in self.batches.evaluation(part):
            with self._autocast():
                outputs: Outputs = network(batch.inputs)
                scores.add(outputs, batch.age, batch.gender, batch.position)
            if keep is not None:
                keep.add(batch, outputs)
        scores.sum(self.workers)
        return scores

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds: tensors, numbers and strings."""
        return {
            "epoch": self.epoch,
            "network": self.evaluated.state_dict(),
            **({} if self.averaged is None else {"averaged": self.averaged.state()}),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state(),
            "position": self.position.state(),
            "config": self.config.model_dump_json(),
            "labels": list(self.inputs.labels),
            "origin": self._origin(),
        }

    def _origin(self) -> dict[str, Any]:
        """What a checkpoint's later user must know of its training data: to look for leaks, and how to
        prepare a face."""
        manifest = self.batches.faces.manifest
        labels = self.inputs.labels
        return {
            "data": self.batches.faces.name,
            "reader": manifest.reader,
            "fingerprint": self.inputs.fingerprint,
            "preparation": json.dumps(asdict(manifest.preparation)),
            "split": json.dumps({**self.config.data.spec().used(), "hash": self.inputs.split_hash}),
            "ages": f"{len(labels)} labels from {labels[0]} to {labels[-1]}",
            "head": self.config.model.age_head.name,
            "images": f"{self.batches.faces.image_size} pixels, {self.config.model.backbone.colour}",
            "epochs": self.epoch,
            "started_from": self.inputs.weights_sha256 or RANDOM,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Continue from `state()`."""
        self.epoch = int(state["epoch"])
        if self.averaged is None:
            self.network.load_state_dict(state["network"])
        else:
            self.averaged.load(state["network"], state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load(state["schedule"])
        self.position.load(state["position"], self.device)


def _stacked(terms: LossTerms) -> Tensor:
    """(age sum, age count, gender sum, gender count, position sum, position count): [6]."""
    return torch.stack([torch.as_tensor(value, device=terms.age_sum.device) for value in terms])
