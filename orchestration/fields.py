"""Every dotted path of a config class, and pydantic's complaints in words a user can act on."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from orchestration.errors import nearest


@dataclass(frozen=True)
class Leaf:
    """A path that takes a value, in one member of each union on its way."""

    field: FieldInfo
    conditions: tuple[tuple[str, str], ...]  # e.g. (("references.name", "mean_of_k"),)


def members(annotation: Any) -> list[type[BaseModel]]:
    """The config classes in an annotation: one, a union's members, or none for a plain value."""
    if get_origin(annotation) is Annotated:
        return members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [m for part in get_args(annotation) for m in members(part)]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return []


def name_of(member: type[BaseModel]) -> str | None:
    """What `name:` selects this union member in YAML."""
    field = member.model_fields.get("name")
    if field is None or get_origin(field.annotation) is not Literal:
        return None
    return str(get_args(field.annotation)[0])


def leaves(
    model: type[BaseModel], prefix: str = "", conditions: tuple[tuple[str, str], ...] = ()
) -> dict[str, list[Leaf]]:
    """Every dotted path below `model` that takes a value; one Leaf per union member that has it."""
    found: dict[str, list[Leaf]] = {}
    for key, field in model.model_fields.items():
        path = f"{prefix}{key}"
        inner = members(field.annotation)
        if not inner:
            found.setdefault(path, []).append(Leaf(field, conditions))
        for member in inner:
            chosen = ((f"{path}.name", name_of(member) or ""),) if len(inner) > 1 else ()
            for deeper, values in leaves(member, f"{path}.", conditions + chosen).items():
                found.setdefault(deeper, []).extend(values)
    return found


def choices_of_name(found: Mapping[str, list[Leaf]], path: str) -> list[str]:
    """The names that `X.name` accepts, in the order of the union."""
    names = [get_args(leaf.field.annotation)[0] for leaf in found.get(path, [])]
    return [str(name) for name in names]


def problems(error: ValidationError, model: type[BaseModel], received: Mapping[str, Any]) -> list[str]:
    """One line per complaint: dotted path, what is wrong, what was received, the nearest right name."""
    known = leaves(model)
    return [_line(dict(item), known, received) for item in error.errors()]


def _line(item: dict[str, Any], known: Mapping[str, list[Leaf]], received: Mapping[str, Any]) -> str:
    path = dotted(item["loc"], received)
    kind = item["type"]
    if kind == "extra_forbidden":
        return f"{path}: unknown key.{suggestion(path, known)}"
    if kind == "missing":
        return f"{path}: missing; give it under `run:` or as {path}=…"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        allowed = choices_of_name(known, f"{path}.name")
        value = item["input"].get("name") if isinstance(item["input"], Mapping) else item["input"]
        return (
            f"{path}.name: received {value!r}; allowed: {', '.join(allowed)}.{nearest(str(value), allowed)}"
        )
    hint = ""
    if kind == "literal_error":
        allowed = [part.strip(" '") for part in item["ctx"]["expected"].replace(" or ", ",").split(",")]
        hint = nearest(str(item["input"]), allowed)
    text = item["msg"][0].lower() + item["msg"][1:]
    return f"{path}: {text}; received {item['input']!r}.{hint}"


def dotted(location: tuple[Any, ...], received: Mapping[str, Any]) -> str:
    """pydantic's location without the union tags it adds."""
    node: Any = received
    parts: list[str] = []
    for position, part in enumerate(location):
        if (isinstance(node, Mapping) and part in node) or (
            isinstance(node, (list, tuple)) and isinstance(part, int) and part < len(node)
        ):
            node = node[part]
        elif position < len(location) - 1:
            continue
        parts.append(str(part))
    return ".".join(parts)


def suggestion(path: str, known: Mapping[str, list[Leaf]]) -> str:
    """` Did you mean …?` among the section's keys, then among all paths; else what is allowed here."""
    sections = {key.rsplit(".", depth)[0] for key in known for depth in range(1, key.count(".") + 1)}
    section = path.rpartition(".")[0]
    prefix = f"{section}." if section else ""
    beside = sorted({prefix + k.removeprefix(prefix).split(".")[0] for k in known if k.startswith(prefix)})
    # The key alone is compared: the section they share would make any two look alike.
    others = [name.removeprefix(prefix) for name in beside if name != path]
    hint = nearest(path.removeprefix(prefix), others)
    hint = hint.replace("mean '", f"mean '{prefix}")
    if not beside:
        hint = nearest(path, [*known, *sections])
    return hint or f" Allowed here: {', '.join(beside or sorted(known))}."
