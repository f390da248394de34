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
        near = nearest(f"{section}.{error.full_key}", (f"{section}.{name}" for name, _ in leaves(kind)))
        raise InputError(f"{where}: {section}.{error.full_key}: unknown key{near}") from None
    except OmegaConfBaseException as error:
        if isinstance(error.__cause__, InputError):  # raised by the dataclass itself
            raise error.__cause__ from None
        raise InputError(f"{where}: {section}.{error.full_key}: {str(error).splitlines()[0]}") from None


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
