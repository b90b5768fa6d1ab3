"""The paper's chain on stand-in faces: weights → IMDB-Clean → target set."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from data.faces import Faces
from data.prepare import prepare
from model import weights as checkpoints
from model.ir import SmallIR
from orchestration import cli, study_file
from orchestration.inputs import resolve
from orchestration.train import train
from orchestration.training import Training

SMALL = ("model.backbone.name=small_ir", "model.backbone.width=8", "train.epochs=1", "train.batch_size=32")


@pytest.fixture
def imdb(tmp_path: Path, cache: Path) -> Path:
    """A stand-in for IMDB-Clean, read as a table: 80 drawn faces, ages 20..39, with a split of its own."""
    drawn, source = Faces.open("synthetic:300x24"), tmp_path / "source"
    source.mkdir()
    rows = ["path,age,gender,identity,split"]
    for i in range(80):
        Image.fromarray(drawn.images[i]).save(source / f"{i}.png")
        part = ("train", "train", "valid", "test")[i // 20]
        rows.append(f"{i}.png,{20 + i % 20},{'MF'[i % 2]},nm{i // 4:07d},{part}")
    (source / "imdb.csv").write_text("\n".join(rows) + "\n")
    prepare("table", source / "imdb.csv", tmp_path / "imdb_clean", size=24, workers=1, progress=False)
    return tmp_path / "imdb_clean"


def arguments(space: str, *overrides: str) -> Any:
    return cli.parser("train", "").parse_args(["--space", space, *overrides])


def test_a_pretrained_backbone_says_what_it_is_and_starts_the_papers_row(
    imdb: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "faces.pth"
    torch.save(SmallIR.Config(width=8).build().state_dict(), weights)
    storage = f"storage={tmp_path / 'runs'}"
    common = (*SMALL, storage, f"model.backbone.weights={weights}", f"data.root={imdb}")
    assert train(arguments("pretrain_imdb_clean.yaml", *common)) == 0
    said = capsys.readouterr().out
    (line,) = [line for line in said.splitlines() if line.startswith("start another run from it: ")]
    setting = line.removeprefix("start another run from it: ")
    best = setting.removeprefix("model.backbone.weights=")

    assert checkpoints.main([best]) == 0
    lines = capsys.readouterr().out.splitlines()
    told = dict(line.split(maxsplit=1) for line in lines if len(line.split()) > 1)
    assert told["format"] == "a run of this project"
    assert (told["data"], told["reader"]) == ("imdb_clean", "table")
    assert told["ages"] == "20 labels from 20 to 39" and told["head"] == "evr"
    assert told["images"] == "24 pixels, rgb" and '"protocol": "official"' in told["split"]
    assert told["started_from"] == hashlib.sha256(weights.read_bytes()).hexdigest()

    # The paper's row begins with that backbone and with labels of its own.
    row = study_file.load(
        "paper/agedb_rapl_gp.yaml", [*SMALL, storage, setting, "data.root=synthetic:300x24"]
    ).config()
    started = Training(row, resolve(row), torch.device("cpu"))
    state = torch.load(best, weights_only=True)["network"]
    assert len(started.network.labels) == 80
    own = {k: v for k, v in started.network.state_dict().items() if k.startswith("backbone.")}
    assert own.keys() == {key for key in state if key.startswith("backbone.")}
    assert all(torch.equal(value, state[key]) for key, value in own.items())
    first = torch.load(weights, weights_only=True)
    assert not all(torch.equal(value, first[key.removeprefix("backbone.")]) for key, value in own.items())
    assert "train/age_loss" in started.step()
