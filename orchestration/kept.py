"""`features.keep`: passes written with the run, so that what references were chosen from can be looked at.

In an object store they are put there as they are written; kept_files.py brings them back.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from data.feature_folder import epoch_name
from data.feature_store import Shard, Source, write_shard
from model.passes import Pass
from orchestration.config import RunConfig
from orchestration.kept_files import FOLDER, whole_epochs
from orchestration.position import PositionTask
from orchestration.storage import Storage
from orchestration.workers import Workers


class KeptFeatures:
    """Writes this worker's shard of a pass below a run's folder, when the run's config says so.

    Face features are biometric templates: the files stay in the run's folder, readable by its owner.
    """

    def __init__(self, config: RunConfig, folder: str, attempt: int, fingerprint: str) -> None:
        self._config = config
        self._kept = Storage(folder).child(FOLDER)
        self._attempt = attempt
        self._fingerprint = fingerprint

    def after_epoch(self, epoch: int, best: bool, position: PositionTask, workers: Workers) -> float | None:
        """Keep the pass of `epoch` (from 1) if it is wanted; returns the MiB this worker wrote, or None."""
        keep, every = self._config.features.keep, self._config.features.keep_every
        wanted = best if keep == "best" else keep == "every_n" and epoch % every == 0
        pass_ = position.recorded
        if pass_ is None or not wanted:
            return None
        size = self._write(self._shard(epoch, pass_, position.source, workers))
        if keep == "best" and workers.rank == 0:
            self._drop_older()
        return size / 2**20

    def drop_after(self, epoch: int) -> None:
        """On going on from `epoch`: passes of later ones are an earlier attempt's and come again."""
        for later in self._epochs():
            if later > epoch:
                self._kept.clear(epoch_name(later))

    def _epochs(self) -> list[int]:
        return whole_epochs(self._kept) if self._config.features.keep != "none" else []

    def _write(self, shard: Shard) -> int:
        """The bytes of a shard that was written."""
        if self._kept.local is not None:
            return write_shard(self._kept.local, shard).stat().st_size
        with tempfile.TemporaryDirectory() as scratch:
            data = write_shard(Path(scratch), shard).read_bytes()
        self._kept.put(shard.path, data)
        return len(data)

    def _shard(self, epoch: int, pass_: Pass, source: Source, workers: Workers) -> Shard:
        return Shard(
            epoch=epoch,
            attempt=self._attempt,
            worker=workers.rank,
            workers=workers.count,
            fingerprint=self._fingerprint,
            source=source,
            sample_id=pass_.sample_id.cpu().numpy(),
            age=pass_.age.float().cpu().numpy(),
            predicted_age=pass_.predicted.float().cpu().numpy(),
            gender=pass_.gender.cpu().numpy().astype(np.int8),
            feature=pass_.features.float().cpu().numpy(),
        )

    def _drop_older(self) -> None:
        """Of the best passes the newest that all workers wrote stays; older ones go once it is there."""
        for epoch in self._epochs()[:-1]:
            self._kept.clear(epoch_name(epoch))
