"""Building frozen dataclasses from plain values, strictly: unknown keys and wrong types are errors that help."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar, cast

from omegaconf import OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from rayzer.errors import InputError

T = TypeVar("T")


def build(kind: type[T], values: Mapping[str, Any], where: str, section: str) -> T:
    """Make a dataclass (nested ones included) from plain values; what is not named keeps its default.

    Args:
        kind: a dataclass.
        values: keys and values, e.g. from YAML or JSON.
        where: what to call the source in messages, e.g. "my.yaml".
        section: dotted name of the dataclass in it, e.g. "model".

    Raises:
        InputError: unknown key (with the nearest known one) or a value of the wrong type or out of range.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"{where}: {section}: expected keys and values, got {values!r}")
    try:
        merged = OmegaConf.merge(OmegaConf.structured(kind), OmegaConf.create(dict(values)))
        return cast(T, OmegaConf.to_object(merged))
    except ConfigKeyError as error:
        known = (f"{section}.{name}" for name, _ in leaves(kind))
        raise unknown_key(where, f"{section}.{error.full_key}", known) from None
    except InputError as error:  # raised by the dataclass itself
        raise InputError(f"{where}: {error}") from None
    except (OmegaConfBaseException, TypeError):  # the latter for keys and values in the place of a list
        raise InputError(f"{where}: {_wrong_value(kind, values, section)}") from None


def unknown_key(where: str, key: str, known: Iterable[str]) -> InputError:
    """The error for a dotted key that is not among the known ones; names the nearest, or those it stands beside."""
    by_last_part: dict[str, str] = {}
    for name in known:
        while name:  # "a.b.c", "a.b", "a"
            by_last_part.setdefault(name.rpartition(".")[2], name)
            name = name.rpartition(".")[0]
    parent, _, last_part = key.rpartition(".")
    near = difflib.get_close_matches(last_part, by_last_part, 1)
    beside = [last for last, name in by_last_part.items() if name.rpartition(".")[0] == parent]
    hint = f'did you mean "{by_last_part[near[0]]}"?' if near else f"known: {', '.join(beside)}"
    return InputError(f"{where}: {key}: unknown key; {hint}")


def _wrong_value(kind: type, values: Mapping[str, Any], section: str) -> str:
    """Which of the values has the wrong type, and why (OmegaConf does not always say which)."""
    for key, value in values.items():
        try:
            OmegaConf.merge(OmegaConf.structured(kind), OmegaConf.create({key: value}))
        except (OmegaConfBaseException, TypeError) as error:
            inner = next((f.default for f in dataclasses.fields(kind) if f.name == key), None)
            if dataclasses.is_dataclass(inner):
                if isinstance(value, Mapping):
                    return _wrong_value(type(inner), value, f"{section}.{key}")
                return f"{section}.{key}: expected keys and values, got {value!r}"
            reason = str(error).splitlines()[0]
            return f"{section}.{key} = {value!r}: " + (reason if "$" not in reason else "wrong type of value")
    return f"{section}: wrong type of value"


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean "x"?` for the nearest known word, or an empty string if none is near."""
    near = difflib.get_close_matches(word, list(known), 1)
    return f'; did you mean "{near[0]}"?' if near else ""


def leaves(kind: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and values (or types) of all fields of a dataclass or an instance, nested ones flattened."""
    for field in dataclasses.fields(kind):
        value = field.default if isinstance(kind, type) else getattr(kind, field.name)
        if dataclasses.is_dataclass(value):
            yield from leaves(value, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", value
