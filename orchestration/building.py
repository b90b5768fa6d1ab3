"""The network of a run before its first step: initialised, pretrained, fitted to the train part."""

from __future__ import annotations

import torch
from torch import nn

from data import cache
from model.heads import positions
from model.network import Network
from model.weights import load_backbone
from orchestration.batches import DTYPES, Batches
from orchestration.config import RunConfig
from orchestration.errors import UserError
from orchestration.inputs import Inputs
from orchestration.seeds import seed_of


def build(config: RunConfig, inputs: Inputs, batches: Batches) -> Network:
    """The network on the batches' device, the same for every worker.

    Raises UserError, naming the face, where the age head cannot train on an age of the train part.
    """
    torch.manual_seed(seed_of(config.seed, "initialisation"))
    ages = torch.from_numpy(batches.faces.ages[batches.split.train].astype("float64"))
    mean, sd = float(ages.mean()), float(ages.std(correction=0))
    channels = batches.feature_channels
    network = Network(config.model, inputs.labels, mean, sd or 1.0, channels)
    if channels is not None:
        network.set_feature_statistics(*batches.feature_statistics())
    elif inputs.weights is not None and network.backbone is not None:
        load_backbone(network.backbone, cache.local(inputs.weights))
    places = positions(ages, torch.tensor(inputs.labels))
    network.set_label_counts(torch.bincount(places[places >= 0], minlength=len(inputs.labels)))
    _require_labels(network, batches)
    network = network.to(batches.device, DTYPES[config.train.precision])
    synchronise = config.model.batch_norm == "sync" and batches.device.type == "cuda"
    if batches.workers.count > 1 and synchronise:
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    return network


def _require_labels(network: Network, batches: Batches) -> None:
    if not network.age_head.trains_on_labels:
        return
    train = torch.from_numpy(batches.split.train)
    strange = train[(batches.positions[train] < 0).cpu()].tolist()
    if strange:
        first = strange[0]
        raise UserError(
            f"model.age_head: {network.config.age_head.name} trains on labels only, and"
            f" {len(strange)} training faces have an age that is none: the first is"
            f" {batches.faces.sources[first]}, {batches.faces.ages[first]:g} years"
        )
