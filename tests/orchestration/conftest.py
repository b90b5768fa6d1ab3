"""What the tests of the training loop share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from orchestration.config import RunConfig
from orchestration.inputs import Inputs
from orchestration.training import Training


@pytest.fixture
def make(
    config: Callable[..., RunConfig], prepared: Callable[..., Inputs], weights: Path
) -> Callable[[dict[str, Any]], Training]:
    """A Training of the tiny study with changed values."""

    def build(values: dict[str, Any]) -> Training:
        run = config({"model.backbone.weights": str(weights), **values})
        return Training(run, prepared(run), torch.device("cpu"))

    return build
