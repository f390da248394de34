"""Frozen weights of losses and metrics, from files that the user put there. Nothing is downloaded here.

Explicit choice, because VGG-19's published weights differ: MatConvNet's, which the reference recipe uses, and
torchvision's, which give the perceptual loss another scale.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from rayzer.errors import InputError
from rayzer.files import file_sha256, is_file, read_tensors

MATCONVNET = "https://www.vlfeat.org/matconvnet/models/imagenet-vgg-verydeep-19.mat"
TORCHVISION_VGG19 = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"
TORCHVISION_VGG16 = "https://download.pytorch.org/models/vgg16-397923af.pth"
LPIPS_LINEAR = "weights/v0.1/vgg.pth"  # in the lpips package
DO_WITHOUT = "or set the weight of this loss to 0 (the structural loss needs no file)"

VGG16, VGG19 = (2, 2, 3, 3, 3), (2, 2, 4, 4, 4)  # convolutions per stage
WIDTHS = (64, 128, 256, 512, 512)


@dataclass(frozen=True, eq=False)
class PretrainedWeights:
    """Weights and where they came from.

    Attributes:
        state: float32 tensors, of a VGG the convolutions only, under torchvision's names ("features.0.weight", ...);
            of LPIPS the channel weights ("lin0.model.1.weight", ...).
        kind: whose they are.
        file: the file that was read.
        sha256: of that file, in hexadecimal.
    """

    state: dict[str, Tensor]
    kind: Literal["matconvnet", "torchvision", "lpips"]
    file: Path
    sha256: str


@dataclass(frozen=True)
class _Convolution:
    matconvnet: str  # "conv1_1"
    torchvision: str  # "features.0"
    shape: tuple[int, int, int, int]  # out, in, h, w


def load_vgg19(kind: Literal["matconvnet", "torchvision"], path: Path | None = None) -> PretrainedWeights:
    """Weights of VGG-19 for `PerceptualLoss`.

    Args:
        kind: "matconvnet" reads `imagenet-vgg-verydeep-19.mat` (needs scipy), "torchvision" `vgg19-dcbb9e9d.pth`.
        path: the file; without it, the file of that name in `$RAYZER_CACHE` (or `~/.cache/rayzer`) or torch's folder.

    Raises:
        InputError: if the file is absent, damaged or another one, or scipy is not installed.
    """
    file = _find(path, MATCONVNET if kind == "matconvnet" else TORCHVISION_VGG19)
    sha256 = _sha256(file)
    state = _read_matconvnet(file) if kind == "matconvnet" else _read_torchvision(file, VGG19)
    return PretrainedWeights(state, kind, file, sha256)


def load_lpips(
    path: Path | None = None, linear_path: Path | None = None, advice: str = DO_WITHOUT
) -> tuple[PretrainedWeights, PretrainedWeights]:
    """Weights of VGG-16 and of its channels, for `LPIPS`.

    Args:
        path: torchvision's `vgg16-397923af.pth`; without it, looked for as by `load_vgg19`.
        linear_path: `weights/v0.1/vgg.pth` of the `lpips` package; without it, that of the installed package.
        advice: how to do without; ends the message about an absent file.

    Raises:
        InputError: if a file is absent, damaged or another one.
    """
    file, linear_file = _find(path, TORCHVISION_VGG16, advice), _find_linear(linear_path)
    sha256, linear_sha256 = _sha256(file), _sha256(linear_file)
    shapes = {f"lin{stage}.model.1.weight": (1, width, 1, 1) for stage, width in enumerate(WIDTHS)}
    linear = _checked(read_tensors(linear_file), shapes, linear_file)
    return (
        PretrainedWeights(_read_torchvision(file, VGG16), "torchvision", file, sha256),
        PretrainedWeights(linear, "lpips", linear_file, linear_sha256),
    )


def _find(path: Path | None, address: str, advice: str = DO_WITHOUT) -> Path:
    name = address.rpartition("/")[2]
    places = [path] if path else [folder / name for folder in _cache_folders()]
    for place in places:
        if is_file(place):
            return place
    if path:
        raise InputError(f"{path}: not found; get {name} from {address}, {advice}")
    found_at = " or ".join(map(str, places))
    raise InputError(f"{name}: not found at {found_at}; get it from {address}, {advice}")


def _cache_folders() -> list[Path]:
    own = os.environ.get("RAYZER_CACHE") or "~/.cache/rayzer"
    return [Path(own).expanduser(), Path(torch.hub.get_dir()) / "checkpoints"]


def _find_linear(path: Path | None) -> Path:
    """The given file, or that of the installed `lpips` package, which is not imported."""
    if path is None:
        package = importlib.util.find_spec("lpips")
        folders = (package and package.submodule_search_locations) or []
        path = next((Path(folder) / LPIPS_LINEAR for folder in folders), None)
    if path is None:
        message = f'LPIPS needs {LPIPS_LINEAR} of the lpips package; install it with `pip install "rayzer[metrics]"`'
        raise InputError(f"{message}, or give the file")
    if not is_file(path):
        raise InputError(f"{path}: not found; LPIPS needs {LPIPS_LINEAR} of the lpips package")
    return path


def _sha256(file: Path) -> str:
    """SHA-256 of a file, compared with the eight digits of it that the names of torchvision's files carry."""
    try:
        sha256 = file_sha256(file)
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); check its permissions") from None
    named = re.search(r"-([0-9a-f]{8})\.pth$", file.name)
    if named and not sha256.startswith(named[1]):
        raise InputError(
            f"{file}: its SHA-256 begins with {sha256[:8]}, not with {named[1]} as its name says; download it again"
        )
    return sha256


def _convolutions(counts: tuple[int, ...]) -> Iterator[_Convolution]:
    """All convolutions of a VGG. Torchvision counts the ReLU after each, and the pooling after each stage, too."""
    index, channels = 0, 3
    for stage, (count, width) in enumerate(zip(counts, WIDTHS, strict=True), 1):
        for number in range(1, count + 1):
            yield _Convolution(f"conv{stage}_{number}", f"features.{index}", (width, channels, 3, 3))
            index, channels = index + 2, width
        index += 1


def _read_torchvision(file: Path, counts: tuple[int, ...]) -> dict[str, Tensor]:
    shapes = {}
    for convolution in _convolutions(counts):
        shapes[f"{convolution.torchvision}.weight"] = convolution.shape
        shapes[f"{convolution.torchvision}.bias"] = convolution.shape[:1]
    return _checked(read_tensors(file), shapes, file)


def _checked(content: object, shapes: Mapping[str, tuple[int, ...]], file: Path) -> dict[str, Tensor]:
    """The named tensors of a state dict in float32; what else it holds is left out."""
    if not isinstance(content, Mapping):
        raise InputError(f"{file}: not a state dict; give the official file")
    for name, shape in shapes.items():
        value = content.get(name)
        if not isinstance(value, Tensor) or value.layout != torch.strided or not value.is_floating_point():
            raise InputError(f"{file}: {name} is missing or not floating point; give the official file")
        if value.shape != shape:
            raise InputError(f"{file}: {name} is {list(value.shape)} but should be {list(shape)}")
        if not value.isfinite().all():
            raise InputError(f"{file}: {name} is not finite; download it again")
    return {name: content[name].detach().float() for name in shapes}


def _read_matconvnet(file: Path) -> dict[str, Tensor]:
    expected = list(_convolutions(VGG19))
    layers = [layer for layer in _matlab_layers(file) if layer["name"].startswith("conv")]
    if [layer["name"] for layer in layers] != [convolution.matconvnet for convolution in expected]:
        raise InputError(f"{file}: its convolutions are not conv1_1 to conv5_4 in this order; give the official file")
    state = {}
    for convolution, layer in zip(expected, layers, strict=True):
        where = f"{file}: {convolution.matconvnet}"
        out, channels, height, width = convolution.shape
        kernel, bias = _kernel_and_bias(layer, where)
        kernel = _array(kernel, (height, width, channels, out), f"{where}: kernel")
        state[f"{convolution.torchvision}.weight"] = kernel.permute(3, 2, 0, 1).contiguous()
        state[f"{convolution.torchvision}.bias"] = _array(bias.reshape(-1), (out,), f"{where}: bias")
    return state


def _matlab_layers(file: Path) -> list[dict[str, Any]]:
    """The fields of each layer; "name" as text, the others as scipy reads them.

    `layers` is a cell array of structs of one element.
    """
    layers = _load_matlab(file).get("layers")
    if not isinstance(layers, np.ndarray) or layers.dtype != object:
        raise InputError(f"{file}: has no cell array 'layers'; give the official file")
    found = []
    for index, layer in enumerate(layers.reshape(-1)):
        names = isinstance(layer, np.ndarray) and layer.size == 1 and layer.dtype.names
        fields = {name: layer.reshape(-1)[0][name] for name in names or ()}
        name = np.asarray(fields.get("name"))
        if name.dtype.kind != "U" or name.size != 1:
            raise InputError(f"{file}: layer {index} is not a struct with a name; give the official file")
        found.append({**fields, "name": str(name.reshape(-1)[0])})
    return found


def _load_matlab(file: Path) -> dict[str, Any]:
    try:
        from scipy.io import loadmat
    except ImportError:
        message = 'reading MatConvNet\'s weights needs scipy; install it with `pip install "rayzer[matlab]"`'
        raise InputError(f"{file}: {message}") from None
    try:
        return loadmat(file, variable_names=["layers"])
    except Exception as error:  # damaged files make scipy raise nearly everything
        detail = str(error).strip().partition("\n")[0][:200]
        raise InputError(f"{file}: not a readable MATLAB file ({detail}); download it again") from error


def _kernel_and_bias(layer: Mapping[str, Any], where: str) -> tuple[np.ndarray, np.ndarray]:
    """From the cell `weights`, or in older files from `filters` and `biases`."""
    if "weights" in layer:
        pair = list(np.asarray(layer["weights"]).reshape(-1))
    else:
        pair = [layer[name] for name in ("filters", "biases") if name in layer]
    if len(pair) != 2 or not all(isinstance(value, np.ndarray) for value in pair):
        raise InputError(f"{where}: has no kernel and bias (weights, or filters and biases); give the official file")
    return pair[0], pair[1]


def _array(value: np.ndarray, shape: tuple[int, ...], where: str) -> Tensor:
    if value.dtype.kind != "f" or value.shape != shape:
        raise InputError(f"{where} is {value.dtype} {list(value.shape)} but should be floating point {list(shape)}")
    if not np.isfinite(value).all():
        raise InputError(f"{where} is not finite; download the file again")
    return torch.from_numpy(value.astype(np.float32))
