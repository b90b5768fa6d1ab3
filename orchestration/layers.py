"""Layers of dotted values: class defaults < file's `run:` < space's sample < command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from orchestration.errors import UserError

Flat = dict[str, Any]


def flatten(nested: Mapping[str, Any], prefix: str = "") -> Flat:
    """`{"a": {"b": 1}}` → `{"a.b": 1}`. Lists are values. Keys that are dotted already are kept."""
    flat: Flat = {}
    for key, value in nested.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{path}."))
        else:
            flat[path] = value
    return flat


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `flatten`. Raises UserError where one path is both a value and a section."""
    nested: dict[str, Any] = {}
    for path, value in flat.items():
        *sections, last = path.split(".")
        node = nested
        for section in sections:
            child = node.setdefault(section, {})
            if not isinstance(child, dict):
                raise UserError(f"{path}: {section} was given a value, so it cannot hold {last}")
            node = child
        if isinstance(node.get(last), dict):
            raise UserError(f"{path}: is a section, received the value {value!r}")
        node[last] = value
    return nested


def layered(layers: Sequence[Mapping[str, Any]]) -> Flat:
    """The flat layers, lowest first, merged.

    A layer that changes `X.name` drops every lower layer's key under X: those belonged to the
    other class. Keys of the same or a higher layer stay, and are errors if X does not know them.
    """
    merged: Flat = {}
    for layer in layers:
        for path, value in layer.items():
            if path.endswith(".name") and merged.get(path) != value:
                section = path.removesuffix("name")
                merged = {k: v for k, v in merged.items() if not k.startswith(section)}
        merged.update(layer)
    return merged


def parse_overrides(items: Sequence[str]) -> Flat:
    """`["loss.position_weight=0.5"]` → flat values, read as YAML. Raises UserError."""
    flat: Flat = {}
    for item in items:
        path, equals, text = item.partition("=")
        if not equals or not path:
            raise UserError(f"override {item!r}: expected path=value, as in loss.position_weight=0.5")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UserError(f"override {path}: cannot read {text!r} as YAML: {error}") from error
        if value == {}:
            raise UserError(f"override {path}: received an empty section")
        flat.update(flatten({path: value}))
    return flat
