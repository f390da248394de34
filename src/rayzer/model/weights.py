"""Saving and loading models: our checkpoint folder, the hub, and reference `.pt` files.

Our format is a folder: `config.json`, `model.safetensors` and `SHA256SUMS` (which `sha256sum -c` understands). A
checkpoint of a training run (`step-00000004/`) is read as well: its checksums are in `manifest.json`, and where it has
a moving average of the weights (`ema.safetensors`), that is what is loaded. Nothing is ever unpickled freely.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from rayzer.errors import InputError
from rayzer.files import exists, file_sha256, output_file, output_folder, read_tensors, save_tensors
from rayzer.model.anyview import AnyViewConfig, AnyViewRayZer
from rayzer.model.lvsm import LVSM, LVSMConfig
from rayzer.model.manifest import MANIFEST, read_manifest
from rayzer.model.rayzer import RayZer, RayZerConfig
from rayzer.model.reference_names import from_reference, reference_name_of, to_reference
from rayzer.strict import build

ModelConfig = RayZerConfig | AnyViewConfig | LVSMConfig
Model = RayZer | AnyViewRayZer | LVSM

KINDS: dict[str, tuple[type, type]] = {
    "rayzer": (RayZerConfig, RayZer),
    "anyview": (AnyViewConfig, AnyViewRayZer),
    "lvsm": (LVSMConfig, LVSM),
}
CONFIG, WEIGHTS, CHECKSUMS = "config.json", "model.safetensors", "SHA256SUMS"
AVERAGE = "ema.safetensors"  # in the checkpoints of a training run
FORMAT_VERSION = 1
_FOR_TRAINING_ONLY = "camera_estimator.point_head."
FREE_KEYS = {
    "image_height",
    "image_width",
    "context_views",
    "target_views",
    "block_init",
    "renderer",
    "patch_points",
}  # weights fit all the same

log = logging.getLogger("rayzer")


def kind_of(config: ModelConfig) -> str:
    """The name of a configuration's model in files: "rayzer", "anyview" or "lvsm"."""
    return next(kind for kind, (config_class, _) in KINDS.items() if isinstance(config, config_class))


def takes_any_views(config: ModelConfig) -> bool:
    """Whether a configuration's model works for other numbers of views than it was trained on."""
    model: type[Model] = KINDS[kind_of(config)][1]
    return model.takes_any_views


def build_model(config: ModelConfig) -> Model:
    """A freshly initialised model, in train mode."""
    return KINDS[kind_of(config)][1](config)


def load_model(
    source: str | Path, config: str | Path | ModelConfig | None = None, device: str | torch.device = "cpu"
) -> Model:
    """Load a model in eval mode; its parameters require gradients.

    Args:
        source: our checkpoint folder, that of a training run (`step-*`), a reference `.pt` file, or an id on the
            Hugging Face hub ("owner/name", or "owner/name/file.pt" where a repository holds several files).
        config: for a reference `.pt` file its YAML file or the name of a preset (it holds none itself); not needed
            for our folders.
        device: where to put it.

    Raises:
        InputError: if anything is missing, damaged, or does not fit; the message names file and keys.
    """
    path = Path(source)
    if not exists(path):
        path = _from_hub(str(source))
    model = _load_folder(path, config) if path.is_dir() else _load_reference(path, config)
    return model.to(device).eval()


def weights_file(source: str | Path) -> Path:
    """The file whose weights `load_model` gives.

    Raises:
        InputError: if it is missing or damaged.
    """
    path = Path(source)
    if not exists(path):
        path = _from_hub(str(source))
    return path / _verified_weights(path) if path.is_dir() else path


def initialise(model: Model, source: str | Path) -> None:
    """Give a model the weights of a source, as `load_model` takes them; a reference file needs no configuration here.

    Numbers and sizes of views may differ: weights do not depend on them.

    Raises:
        InputError: if the source is missing or damaged, or its weights are those of another model.
    """
    path = Path(source)
    if not exists(path):
        path = _from_hub(str(source))
    loaded = _load_folder(path, None) if path.is_dir() else _load_reference(path, model.config)
    kinds = kind_of(loaded.config), kind_of(model.config)
    if kinds[0] != kinds[1]:
        raise InputError(f"{source}: its weights are of another kind of model, {kinds[0]}, not {kinds[1]}")
    mine, theirs = dataclasses.asdict(model.config), dataclasses.asdict(loaded.config)
    keys = sorted(key for key in mine.keys() | theirs.keys() if mine.get(key) != theirs.get(key))
    free = FREE_KEYS | ({"position_code"} if _one_code(model.config) and _one_code(loaded.config) else set())
    other = [f"model.{key}" for key in keys if key not in free]
    if other:
        raise InputError(f"{source}: its weights are of another model: {', '.join(other)} differs")
    own, weights = model.state_dict(), loaded.state_dict()
    weights = {key: value for key, value in weights.items() if key in own or not key.startswith(_FOR_TRAINING_ONLY)}
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected
    assert all(key.startswith(_FOR_TRAINING_ONLY) for key in missing)


def _one_code(config: ModelConfig) -> bool:
    """Whether "row_column" and "reference" name one position code: they do where pictures are square."""
    return isinstance(config, RayZerConfig) and (
        config.image_height == config.image_width and config.position_code != "none"
    )


def save_model(model: Model, folder: str | Path, overwrite: bool = False) -> None:
    """Write a checkpoint folder that `load_model` reads; it appears complete or not at all.

    Raises:
        InputError: if the folder exists and is not empty, unless `overwrite`.
    """
    with output_folder(Path(folder), overwrite) as staging:
        _write_folder(model, staging)


def push_model(model: Model, repo_id: str, private: bool = False) -> str:
    """Upload a checkpoint folder to the Hugging Face hub ("owner/name") and return its address."""
    import tempfile

    from huggingface_hub import HfApi

    api = HfApi()
    api.create_repo(repo_id, private=private, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        _write_folder(model, Path(folder))
        return str(api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message="Upload a rayzer model"))


def save_reference(model: Model, path: Path) -> None:
    """Write a `.pt` file as the reference implementation does: `{"model": state_dict}` under its names.

    Raises:
        InputError: if the reference would compute something else from these weights, or the file cannot be written.
    """
    config = model.config
    if isinstance(model, AnyViewRayZer) or (isinstance(config, RayZerConfig) and config.renderer != "joint"):
        raise InputError(f"{path}: the reference has no such model; save a checkpoint folder (no .pt) instead")
    square = config.image_height == config.image_width
    if isinstance(config, RayZerConfig) and config.position_code == "row_column" and not square:
        raise InputError(
            f"{path}: the reference numbers the patches of {config.image_width}x{config.image_height} pictures another "
            "way; these weights would not work there"
        )
    try:
        with output_file(path) as partial:
            torch.save({"model": to_reference(model)}, partial)
    except (OSError, RuntimeError) as error:  # torch reports a missing folder as a RuntimeError
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: cannot be written ({reason}); choose another name") from None


def fingerprint(model: Model) -> str:
    """SHA-256 of a model's configuration and weights in hexadecimal, whatever file they came from."""
    digest = hashlib.sha256(json.dumps(dataclasses.asdict(model.config), sort_keys=True).encode())
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().float().cpu().contiguous().numpy())
    return digest.hexdigest()


def _write_folder(model: Model, folder: Path) -> None:
    (folder / CONFIG).write_text(config_text(model.config), encoding="utf-8")
    save_tensors(model.state_dict(), folder / WEIGHTS)
    sums = [f"{file_sha256(folder / name)}  {name}\n" for name in (CONFIG, WEIGHTS)]
    (folder / CHECKSUMS).write_text("".join(sums), encoding="utf-8")


def config_text(config: ModelConfig) -> str:
    """The content of a checkpoint folder's `config.json`."""
    header = {"format": "rayzer", "version": FORMAT_VERSION, "kind": kind_of(config)}
    return json.dumps({**header, "model": dataclasses.asdict(config)}, indent=2) + "\n"


def _load_folder(folder: Path, config: str | Path | ModelConfig | None) -> Model:
    weights = folder / _verified_weights(folder)
    own = read_config(folder / CONFIG)
    if config is not None:
        _refuse_difference(own, resolve_config(config), folder)
    model = _empty(own)
    try:
        state = load_file(weights)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{weights}: damaged ({error}); copy or download it again") from None
    _load_strictly(model, state, weights)
    return model


def read_config(path: Path) -> ModelConfig:
    """The model configuration in a checkpoint folder's `config.json`."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        kind, version = content["kind"], content["version"]
        values = content["model"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a rayzer model configuration ({error!r})") from None
    if not isinstance(kind, str) or kind not in KINDS or version != FORMAT_VERSION:
        raise InputError(f"{path}: kind {kind!r} version {version!r} needs a newer rayzer")
    return build(KINDS[kind][0], values, str(path), "model")


def resolve_config(config: str | Path | ModelConfig) -> ModelConfig:
    """The model part of a preset's name, a YAML file (ours or the reference's), or a configuration itself."""
    if isinstance(config, ModelConfig):
        return config
    from rayzer.configs import load_config

    return load_config(str(config)).model


def _verified_weights(folder: Path) -> str:
    """The file with the weights, after comparing it and the configuration with the checksums written with them."""
    listing = MANIFEST if (folder / MANIFEST).is_file() else CHECKSUMS
    try:
        known = read_manifest(folder) if listing == MANIFEST else _read_checksums(folder)
    except OSError as error:
        raise InputError(f"{folder / listing}: cannot be read ({error.strerror})") from None
    weights = AVERAGE if AVERAGE in known else WEIGHTS
    missing = [name for name in (CONFIG, weights, listing) if not (folder / name).is_file()]
    if missing:
        raise InputError(f"{folder}: not a rayzer checkpoint folder, {', '.join(missing)} missing")
    for name in (CONFIG, weights):
        if file_sha256(folder / name) != known.get(name):
            raise InputError(f"{folder / name}: does not match {listing}; copy or download the folder again")
    return weights


def _read_checksums(folder: Path) -> dict[str, str]:
    if not (folder / CHECKSUMS).is_file():
        return {}
    lines = (folder / CHECKSUMS).read_text(encoding="utf-8", errors="replace").splitlines()
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def _refuse_difference(own: ModelConfig, given: ModelConfig, folder: Path) -> None:
    mine, theirs = dataclasses.asdict(own), dataclasses.asdict(given)
    keys = sorted(key for key in mine.keys() | theirs.keys() if mine.get(key) != theirs.get(key))
    if kind_of(own) != kind_of(given) or keys:
        named = ", ".join(f"model.{key}" for key in keys) or "the kind of model"
        raise InputError(
            f"{folder}: its {CONFIG} differs from the given configuration in {named}; leave the latter out"
        )


def _load_reference(path: Path, config: str | Path | ModelConfig | None) -> Model:
    state = read_reference_state(path)
    if config is None:
        raise InputError(_needs_config(path))
    resolved = resolve_config(config)
    if isinstance(resolved, AnyViewConfig):
        raise InputError(f"{path}: a reference checkpoint holds no AnyViewRayZer; give the configuration that it is of")
    if isinstance(resolved, RayZerConfig) and resolved.position_code == "row_column":
        resolved = dataclasses.replace(resolved, position_code="reference")  # what these weights were trained with
    model = _empty(resolved)
    state, ignored = from_reference(state, model)
    if ignored:
        log.info("%s: left out the weights of the training loss (loss_computer.*): %d", path, len(ignored))
    names = {name: f"{name} ({reference_name_of(name, model)})" for name in model.state_dict()}
    _load_strictly(model, state, path, names)
    return model


def _needs_config(path: Path) -> str:
    return f"{path}: a reference checkpoint holds no configuration; give its YAML file or a preset's name as config"


def read_reference_state(path: Path) -> dict[str, Tensor]:
    """The tensors under "model" in a reference `.pt` file, read without running any code from it."""
    content = read_tensors(path)
    state = content.get("model") if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f'{path}: not a reference checkpoint, it has no state dict under "model"')
    return dict(state)


def _empty(config: ModelConfig) -> Model:
    """A model whose parameters are about to be loaded: on no device and without the cost of an initialisation."""
    try:
        with torch.device("meta"):
            return build_model(config)
    except RuntimeError as error:  # sizes that overflow
        raise InputError(f"the model configuration cannot be built ({str(error).splitlines()[0]})") from None


def _load_strictly(model: Model, state: dict[str, Tensor], path: Path, names: dict[str, str] | None = None) -> None:
    own = model.state_dict()
    names = names or {}
    missing = [names.get(name, name) for name in own if name not in state]
    extra = [name for name in state if name not in own]
    shapes = [
        f"{names.get(name, name)} is {list(state[name].shape)} but should be {list(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    problems = {"missing": missing, "unexpected": extra, "of another shape": shapes}
    if any(problems.values()):
        told = "; ".join(f"{len(keys)} {what}: {_few(keys)}" for what, keys in problems.items() if keys)
        raise InputError(f"{path}: does not fit the configuration, {told}")
    wrong = [names.get(name, name) for name, value in state.items() if not value.is_floating_point()]
    if wrong:
        raise InputError(f"{path}: not floating point: {_few(wrong)}")
    model.load_state_dict({name: value.float() for name, value in state.items()}, assign=True)
    for parameter in model.parameters():
        parameter.requires_grad_(True)


def _few(names: list[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _from_hub(source: str) -> Path:
    """Download a hub id; returns our folder or the reference file in it."""
    repository, file = _hub_id(source)
    folder = _download(source, repository, [file] if file else [CONFIG, WEIGHTS, CHECKSUMS, "*.pt"])
    if (folder / CONFIG).is_file() and not file:
        return folder
    files = [folder / file] if file else sorted(folder.glob("*.pt"))
    if len(files) != 1 or not files[0].is_file():
        found = ", ".join(file.name for file in files) or "none"
        raise InputError(f"{source}: expected one .pt file, found {found}; name one as owner/name/file.pt")
    return files[0]


def _hub_id(source: str) -> tuple[str, str]:
    """Repository and file name ("" if none is named) of a hub id."""
    parts = source.split("/")
    if len(parts) not in (2, 3) or not all(parts) or source.startswith((".", "~")):
        raise InputError(f"{source}: no such file or folder (and not a hub id of the form owner/name)")
    return "/".join(parts[:2]), "".join(parts[2:])


def _download(source: str, repository: str, patterns: list[str]) -> Path:
    """The folder with those files of a hub repository that match, from the cache where they are there."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repository, allow_patterns=patterns))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().split("\n")[0]
        raise InputError(f"{source}: no such file or folder, and not to be had from the hub ({reason})") from None


def peek_config(source: str | Path, config: str | Path | ModelConfig | None = None) -> ModelConfig:
    """The configuration of what `load_model` would load, without its weights.

    Raises:
        InputError: if it cannot be had, as from `load_model`.
    """
    path = Path(source)
    if config is not None:
        return resolve_config(config)
    if path.is_dir():
        return read_config(path / CONFIG)
    if exists(path):
        raise InputError(_needs_config(path))
    repository, file = _hub_id(str(source))
    if file:
        raise InputError(_needs_config(path))
    folder = _download(str(source), repository, [CONFIG])
    if not (folder / CONFIG).is_file():
        raise InputError(_needs_config(path))
    return read_config(folder / CONFIG)
