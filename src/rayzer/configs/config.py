"""One way to a configuration: a preset's name or a YAML file, then `key=value` overrides."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from rayzer.configs.presets import PRESETS, Config
from rayzer.configs.reference import is_reference, translate
from rayzer.errors import InputError
from rayzer.files import exists
from rayzer.model.weights import KINDS
from rayzer.strict import build, leaves, nearest, unknown_key
from rayzer.training.recipe import TrainingConfig

log = logging.getLogger("rayzer")


def load_config(source: str, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration.

    A YAML file of ours has `preset: NAME` or `kind: rayzer | anyview | lvsm` to start from, then `model:` and
    `training:` with what differs. The reference implementation's YAML files are understood as they are.

    Args:
        source: a preset's name or the path of a YAML file.
        overrides: command-line words `training.steps=24` or `training.steps = 24`.

    Raises:
        InputError: unknown preset, unreadable file, unknown key or wrong value; the message names it.
    """
    changes = parse_overrides(overrides)
    if source in PRESETS:
        return _merge(PRESETS[source](), changes, "override")
    path = Path(source)
    if not (exists(path) and path.is_file()):
        known = ", ".join(PRESETS)
        raise InputError(f"{source}: neither a file nor a preset ({known}){nearest(source, PRESETS)}")
    content = _read_yaml(path)
    if is_reference(content):
        return _from_reference(content, changes, path)
    return _merge(_merge(_start(content, path), content, str(path)), changes, "override")


def parse_overrides(words: Sequence[str]) -> dict[str, Any]:
    """Nested values from `a.b=1`, `a.b = 1`, `a.b= 1` or `a.b =1`, each value read as YAML."""
    joined: list[str] = []
    for word in map(str.strip, words):
        is_value = joined and joined[-1].endswith("=") and joined[-1].count("=") == 1
        if joined and (is_value or word.startswith("=")):
            joined[-1] += word
        else:
            joined.append(word)
    pairs = [[part.strip() for part in word.partition("=")] for word in joined]
    for word, parts in zip(joined, pairs, strict=True):
        if not all(parts):
            raise InputError(f"{word}: overrides have the form key=value, e.g. training.steps=1000")
    try:
        return _plain(OmegaConf.from_dotlist(["".join(parts) for parts in pairs]))
    except (OmegaConfBaseException, YAMLError) as error:
        raise InputError(f"{' '.join(words)}: {str(error).splitlines()[0]}") from None


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = OmegaConf.load(path)
        if isinstance(content, DictConfig) and len(content):
            return _plain(content)
    except (YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path}: not a readable YAML file ({' '.join(str(error).split())})") from None
    raise InputError(f"{path}: expected keys and values, e.g. `preset: rayzer_dl3dv`")


def _plain(content: Any) -> dict[str, Any]:
    return {str(key): value for key, value in OmegaConf.to_container(content, resolve=True).items()}  # type: ignore


def _start(content: dict[str, Any], path: Path) -> Config:
    """What a YAML file of ours starts from; takes the key that says so out of `content`."""
    if "preset" in content:
        preset = content.pop("preset")
        if not isinstance(preset, str) or preset not in PRESETS:
            raise InputError(f"{path}: preset: {preset!r} is not one of {', '.join(PRESETS)}")
        return PRESETS[preset]()
    kind = content.pop("kind", "rayzer")
    if not isinstance(kind, str) or kind not in KINDS:
        raise InputError(f"{path}: kind: {kind!r} is not one of {', '.join(KINDS)}")
    return Config(KINDS[kind][0](), TrainingConfig())


def _merge(base: Config, changes: dict[str, Any], where: str) -> Config:
    """`base` with some values changed."""
    for key in changes:
        if key not in ("model", "training"):
            raise unknown_key(where, key, (name for name, _ in leaves(base)))
    parts = {}
    for name in ("model", "training"):
        part = getattr(base, name)
        given = changes.get(name, {})
        if not isinstance(given, dict):
            raise InputError(f"{where}: {name}: expected keys and values, got {given!r}")
        parts[name] = build(type(part), _overlay(dataclasses.asdict(part), given), where, name)
    return Config(**parts)


def _overlay(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        inner = merged.get(key)
        merged[key] = _overlay(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged


def _from_reference(content: dict[str, Any], changes: dict[str, Any], path: Path) -> Config:
    """Translate a reference file; overrides may use its keys or ours."""
    ours, theirs = _split_overrides(changes)
    config, unused = translate(_overlay(content, theirs), str(path))
    if unused:
        log.info("%s: keys without a meaning here: %s", path, ", ".join(unused))
    return _merge(config, ours, "override")


def _split_overrides(changes: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Overrides in our names (top two levels decide) and those in the reference's."""
    ours: dict[str, Any] = {}
    theirs: dict[str, Any] = {}
    fields = {
        "training": {field.name for field in dataclasses.fields(TrainingConfig)},
        "model": {f.name for kind, _ in KINDS.values() for f in dataclasses.fields(kind)},
    }
    for section, values in changes.items():
        if not isinstance(values, dict):
            theirs[section] = values
            continue
        for key, value in values.items():
            is_ours = key in fields.get(section, ())
            (ours if is_ours else theirs).setdefault(section, {})[key] = value
    return ours, theirs
