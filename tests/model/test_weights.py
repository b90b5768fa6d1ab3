"""`python -m model.weights`: what a file is, what it fits, and what must be given by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from model.errors import WeightsError
from model.ir import IR18, IR50, SmallIR
from model.resnet import ResNet18
from model.weights import check, main

IMAGENET = "mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]"


def run_checkpoint(backbone: SmallIR, trained: bool = True) -> dict[str, Any]:
    """What a run of ours writes, as far as the backbone goes."""
    model = {"backbone": backbone.settings.model_dump(mode="json"), "train_backbone": trained}
    network = {f"backbone.{key}": value for key, value in backbone.state_dict().items()} if trained else {}
    network["age_head.linear.weight"] = torch.zeros(1)
    return {"format_version": 1, "network": network, "config": json.dumps({"model": model})}


@pytest.fixture
def described(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    def describe(state: Any) -> str:
        path = tmp_path / "file.pth"
        torch.save(state, path)
        assert main([str(path)]) == 0
        return capsys.readouterr().out

    return describe


def evolved(state: dict[str, Any]) -> dict[str, Any]:
    """An IR-18 trunk's state under face.evoLVe's names."""
    first = {"body1": 0, "body2": 2, "body3": 4}
    found = {}
    for key, value in state.items():
        stage, _, rest = key.partition(".")
        unit, _, inner = rest.partition(".")
        found[f"body.{first[stage] + int(unit)}.{inner}" if stage in first else key] = value
    return found


def test_known_files_are_named_with_their_normalisation(described: Any) -> None:
    ir18, resnet = IR18.Config().build().state_dict(), ResNet18.Config().build().state_dict()
    said = described({"state_dict": {f"module.{k}": v for k, v in resnet.items()}})
    assert "torchvision" in said and "name: resnet18" in said and IMAGENET in said
    said = described(evolved(ir18))
    assert "face.evoLVe" in said and "name: ir18" in said and "mean: [0.5, 0.5, 0.5]" in said
    said = described(ir18)
    assert "POSTER++" in said and "mean: ?" in said and "the file does not tell" in said


def test_a_file_that_fits_nothing_says_what_is_missing_where(described: Any) -> None:
    state = ResNet18.Config().build().state_dict()
    del state["layer4.1.bn2.bias"]
    said = described(state | {"extra": torch.zeros(2)})
    assert "resnet18      119 entries match; 1 missing: layer4.1.bn2.bias; 1 unexpected: extra" in said
    assert "fits      no backbone" in said


def test_a_runs_checkpoint_is_described_with_its_own_backbone(described: Any) -> None:
    backbone = SmallIR.Config(width=8, mean=(0.1, 0.2, 0.3)).build()
    state = {**run_checkpoint(backbone), "origin": {"data": "imdb", "fingerprint": "abc"}}
    said = described(state)
    assert "a run of this project" in said and "data      imdb" in said
    assert "name: small_ir, width: 8" in said and "mean: [0.1, 0.2, 0.3]" in said
    assert "holds none" in described(run_checkpoint(backbone, trained=False))


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04"])
def test_what_is_no_checkpoint_is_one_message(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "file.pth"
    path.write_bytes(content)
    assert main([str(path)]) == 2
    assert "not a PyTorch checkpoint" in capsys.readouterr().err
    assert main([str(tmp_path / "gone.pth")]) == 2
    assert "no such file" in capsys.readouterr().err


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize(
    "state",
    [
        {1: torch.zeros(2), "b": "str"},
        {"b": "str", 1: torch.zeros(2)},
        {"backbone.a": torch.zeros(2), None: 0},
    ],
)
def test_a_checkpoint_with_keys_that_are_no_names_is_one_message(
    tmp_path: Path, state: dict[Any, Any], wrapped: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "file.pth"
    torch.save({"state_dict": state} if wrapped else state, path)
    assert main([str(path)]) == 2
    assert capsys.readouterr().err == (
        f"error: {path}: not a PyTorch checkpoint of tensors (some of its keys are no names)\n"
    )


def test_an_optimizers_numbered_state_beside_the_network_is_no_mistake(described: Any) -> None:
    state = ResNet18.Config().build().state_dict()
    said = described({"state_dict": state, "optimizer": {"state": {0: torch.zeros(1)}}})
    assert "name: resnet18" in said


def test_a_runs_backbone_loads_where_the_convention_is_the_same_and_nowhere_else() -> None:
    source = SmallIR.Config(width=8, mean=(0.1, 0.2, 0.3)).build()
    state = run_checkpoint(source)
    target = SmallIR.Config(width=8, mean=(0.1, 0.2, 0.3)).build()
    target.load_pretrained(state)
    assert all(torch.equal(a, b) for a, b in zip(source.parameters(), target.parameters(), strict=True))
    with pytest.raises(
        WeightsError, match=r"trained with model\.backbone\.mean \[0.1, 0.2, 0.3\]; received \[0.5"
    ):
        SmallIR.Config(width=8).build().load_pretrained(state)
    with pytest.raises(WeightsError, match=r"model\.backbone\.name small_ir; received ir18"):
        IR18.Config(mean=(0.1, 0.2, 0.3)).build().load_pretrained(state)
    with pytest.raises(WeightsError, match="a run with a fixed backbone holds no backbone"):
        target.load_pretrained(run_checkpoint(source, trained=False))


def test_normalisation_must_be_given_where_the_keys_cannot_tell(tmp_path: Path) -> None:
    path, state = tmp_path / "ir50.pth", IR50.Config().build().state_dict()
    torch.save(state, path)
    with pytest.raises(WeightsError, match=r"ir50\.pth: IR trunk.*give model\.backbone\.mean"):
        check(IR50.Config(), path)
    check(IR50.Config(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)), path)
