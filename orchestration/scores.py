"""What a part says of a network, as sums that workers add up: metrics, position loss, confidence."""

from __future__ import annotations

import torch
from torch import Tensor

from model.metrics import Metrics
from model.network import Network, Outputs
from model.rapl import Rapl
from orchestration.workers import Workers

TOLERANCES = range(11)  # t of eq. (12), in years


class Scores:
    """Sums over the samples of a part; `sum` adds the workers', then the readings are the whole part's.

    Before its first references a position head means nothing, and is left out.
    """

    def __init__(self, network: Network, seed: int, agreement: bool) -> None:
        """`seed` shuffles the references' ages for `reference_effect`; `agreement` asks for eq. (12)."""
        self.agreement = agreement
        self.network = network
        self.position = network.position_head is not None and network.position_head.ready
        device = network.labels.device
        self._metrics = Metrics(device)
        # Position loss, the same under shuffled references, samples with a position.
        self._position = torch.zeros(3, dtype=torch.float64, device=device)
        self._agreeing = torch.zeros(len(TOLERANCES), dtype=torch.float64, device=device)
        self._outside = torch.zeros(1, dtype=torch.float64, device=device)
        generator = torch.Generator().manual_seed(seed)
        self._order = torch.randperm(len(network.labels), generator=generator).to(device)

    def add(self, outputs: Outputs, age: Tensor, gender: Tensor, position: Tensor) -> None:
        """Count a batch: age [b] years, gender and position [b] codes."""
        predicted = self.network.predict_age(outputs)
        self._metrics.add(predicted, age, outputs.gender, gender)
        self._outside += (position < 0).sum()
        head = self.network.position_head
        if not self.position or head is None or outputs.position is None:
            return
        loss = head.loss(outputs.position, position).sum()
        shuffled = loss
        if isinstance(head, Rapl):
            logits = head.logits_with(outputs.features, head.R[self._order])
            shuffled = head.loss(logits, position).sum()
        self._position += torch.stack([loss, shuffled, (position >= 0).sum()]).double()
        if not self.agreement:
            return
        of_position = self.network.predict_position_age(outputs)
        assert of_position is not None, "the head is ready"
        gap = (predicted - of_position).abs().double()
        limits = torch.tensor(TOLERANCES, device=gap.device, dtype=torch.float64)
        self._agreeing += (gap.unsqueeze(1) <= limits).sum(0)

    def sum(self, workers: Workers) -> None:
        """Add the sums of all workers."""
        for sums in (self._metrics.sums, self._position, self._agreeing, self._outside):
            workers.sum(sums)

    def metrics(self) -> dict[str, float]:
        """Age and gender metrics (9)–(11), and the position loss (7) where the head is trained.

        Ages outside the labels count in all age metrics; where there are any, `outside_labels` says how many.
        """
        values = self._metrics.compute()
        if float(self._outside) > 0:
            values["outside_labels"] = float(self._outside)
        if self.position and float(self._position[2]) > 0:
            values["position_loss"] = float(self._position[0] / self._position[2])
        return values

    def reference_effect(self) -> float | None:
        """How much the position loss rises when the references' ages are shuffled; None without RAPL."""
        if not self.position or not isinstance(self.network.position_head, Rapl):
            return None
        return float((self._position[1] - self._position[0]) / self._position[2].clamp(min=1))

    def agreeing(self) -> list[int] | None:
        """For every tolerance t of eq. (12) the samples whose two ages differ by at most t years."""
        return [int(count) for count in self._agreeing.tolist()] if self.position and self.agreement else None
