"""Checkpoint files: read safely, load wholly or refuse, and described by

    python -m model.weights FILE

The one file of this room that opens paths.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.errors import WeightsError

if TYPE_CHECKING:
    from model.backbone_base import Backbone, BackboneSettings, Triple
    from model.layouts import Match

LISTED = 5


def read(path: str | Path) -> Mapping[str, Any]:
    """The state dict in a file, on the CPU. Raises WeightsError for anything but named tensors in a dict."""
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such file") from None
    except Exception as error:
        kind = type(error).__name__
        raise WeightsError(
            f"{path}: not a PyTorch checkpoint of tensors (torch.load with weights_only=True: {kind})"
        ) from error
    if not isinstance(state, Mapping):
        raise WeightsError(f"{path}: expected a state dict, received {type(state).__name__}")
    if not _named(state):
        raise WeightsError(f"{path}: not a PyTorch checkpoint of tensors (some of its keys are no names)")
    return state


def _named(state: Mapping[Any, Any]) -> bool:
    """Whether the keys of a state dict are strings, inside of whatever is wrapped around it."""
    from model.backbone_base import flat

    try:
        return all(isinstance(key, str) for key in flat(state))
    except AttributeError:  # of a key that is no string
        return False


def load_backbone(backbone: Backbone, path: str | Path) -> None:
    """Load a file into a backbone. Raises WeightsError that names the file and every key that differs."""
    from model.onnx_backbone import OnnxBackbone

    try:
        if isinstance(backbone, OnnxBackbone):
            backbone.load_model(Path(path).read_bytes())
        else:
            backbone.load_pretrained(read(path))
    except WeightsError as error:
        text = str(error)
        raise WeightsError(text if text.startswith(str(path)) else f"{path}: {text}") from None
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror or error}") from None


def check(settings: BackboneSettings, path: str | Path) -> None:
    """Raise WeightsError if a file does not fit a backbone, or if nothing tells its normalisation."""
    from model.layouts import normalisation_problem
    from model.onnx_backbone import OnnxBackbone

    backbone: Backbone = settings.build()  # type: ignore[attr-defined]
    load_backbone(backbone, path)
    if not isinstance(backbone, OnnxBackbone):
        problem = normalisation_problem(settings, read(path))
        if problem is not None:
            raise WeightsError(f"{path}: {problem}")


def describe(path: Path) -> list[str]:
    """What a file is, line by line. Raises WeightsError for what is no checkpoint."""
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    lines = [f"file      {path} ({path.stat().st_size:,} bytes)", f"sha256    {digest}"]
    return lines + (_onnx(path) if path.suffix == ".onnx" else _tensors(path))


def _onnx(path: Path) -> list[str]:
    from model.onnx_backbone import OnnxBackbone

    settings = OnnxBackbone.Config()
    backbone = settings.build()
    load_backbone(backbone, path)
    return [
        "format    ONNX model",
        f"features  {backbone.channels} channels of its first output",
        *_snippet(settings, path, None, None),
        "  train_backbone: false",
    ]


def _tensors(path: Path) -> list[str]:
    from model.backbone_base import flat, run_config
    from model.layouts import layout_of, matches

    state = read(path)
    layout = layout_of(state)
    lines = [f"format    {layout.name}", f"tensors   {len(flat(state)):,}"]
    told = run_config(state)
    if told is not None:
        lines += [f"{name:<9} {value}" for name, value in dict(state.get("origin", {})).items()]
    if told is not None and not told["model"]["train_backbone"]:
        return [*lines, "fits      none: its backbone was fixed, so it holds none"]
    found = matches(state)
    if not found[0].whole:
        return [*lines, *map(_comparison, found[:LISTED]), "fits      no backbone at its default size"]
    return [*lines, _comparison(found[0]), *_snippet(found[0].settings, path, layout.mean, layout.std)]


def _comparison(match: Match) -> str:
    text = f"{match.settings.name:<13} {match.matched} entries match"
    for kind, keys in (("missing", match.missing), ("unexpected", match.unexpected)):
        if keys:
            more = ", …" if len(keys) > LISTED else ""
            text += f"; {len(keys)} {kind}: {', '.join(keys[:LISTED])}{more}"
    return text


def _snippet(settings: BackboneSettings, path: Path, mean: Triple | None, std: Triple | None) -> list[str]:
    """The lines of YAML that use the file; a question mark where its keys do not tell."""
    told = {"mean": list(mean) if mean else "?", "std": list(std) if std else "?"}
    changed = settings.model_dump(mode="json", exclude_defaults=True, exclude={"mean", "std", "weights"})
    values = {"name": settings.name, **changed, "weights": str(path), **told}
    lines = ["model:", f"  backbone: {{{', '.join(f'{key}: {value}' for key, value in values.items())}}}"]
    if mean is None:
        lines.append("  # mean and std are what the weights were trained with: the file does not tell")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0 done, 2 the user's mistake."""
    parser = argparse.ArgumentParser(prog="python -m model.weights", description="Say what a checkpoint is.")
    parser.add_argument("file", type=Path, help="a PyTorch or ONNX file")
    try:
        lines = describe(parser.parse_args(arguments).file)
    except WeightsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
