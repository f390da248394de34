"""Frozen weights from files: MatConvNet's two layouts, torchvision's, LPIPS; places, checksums, refusals."""

import hashlib
import pickle
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from rayzer import InputError
from rayzer.losses import PerceptualLoss, load_lpips, load_vgg19

scipy_io = pytest.importorskip("scipy.io")

MAT, VGG19, VGG16 = "imagenet-vgg-verydeep-19.mat", "vgg19-dcbb9e9d.pth", "vgg16-397923af.pth"
COUNTS = (2, 2, 4, 4, 4)
NAMES = [f"conv{stage}_{number}" for stage, count in enumerate(COUNTS, 1) for number in range(1, count + 1)]


def cell(items):
    """A MATLAB cell array [1, n]."""
    array = np.empty((1, len(items)), object)
    for index, item in enumerate(items):
        array[0, index] = item
    return array


def newer(kernel, bias):
    return {"weights": cell([kernel, bias])}


def older(kernel, bias):
    return {"filters": kernel, "biases": bias}


def layers_of(state, layout, names=NAMES):
    """Layers as MatConvNet stores them: kernels [h, w, in, out], and between them layers without weights."""
    weights = [value.numpy() for key, value in state.items() if key.endswith("weight")]
    biases = [value.numpy() for key, value in state.items() if key.endswith("bias")]
    layers = []
    for name, weight, bias in zip(names, weights, biases, strict=True):
        fields = layout(weight.transpose(2, 3, 1, 0), bias[None])
        layers.append({"stride": [[1.0, 1.0]], **fields, "type": "conv", "name": name, "pad": [[1.0] * 4]})
        layers.append({"type": "relu", "name": name.replace("conv", "relu")})
    return [*layers, {"type": "pool", "name": "pool5", "method": "max"}, {"type": "softmax", "name": "prob"}]


def write(path, layers, **options):
    scipy_io.savemat(path, {"layers": cell(layers), "meta": {"classes": "cat"}}, **options)
    return path


@pytest.fixture(scope="module", params=[newer, older])
def mat(request, full_vgg19, tmp_path_factory):
    return write(tmp_path_factory.mktemp("matconvnet") / MAT, layers_of(full_vgg19, request.param))


@pytest.fixture
def small(narrow_vgg19):
    """Layers with the right names, and shapes that are right in conv1_1 alone."""
    first = {"features.0.weight": torch.ones(64, 3, 3, 3), "features.0.bias": torch.ones(64)}
    return layers_of({**narrow_vgg19, **first}, newer)


@pytest.fixture
def no_cache(monkeypatch, tmp_path):
    """Empty places to look in."""
    monkeypatch.setenv("RAYZER_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    (tmp_path / "own").mkdir()
    (tmp_path / "torch/hub/checkpoints").mkdir(parents=True)
    return tmp_path / "own", tmp_path / "torch/hub/checkpoints"


def message(function, *args, **options):
    with pytest.raises(InputError) as error:
        function(*args, **options)
    text = str(error.value)
    assert "\n" not in text
    assert "weights_only" not in text
    return text


def test_both_layouts_of_matconvnet(mat, full_vgg19):
    weights = load_vgg19("matconvnet", mat)
    assert list(weights.state) == list(full_vgg19)
    for name, value in full_vgg19.items():
        assert torch.equal(weights.state[name], value), name
        assert weights.state[name].is_contiguous()
    assert (weights.kind, weights.file) == ("matconvnet", mat)
    assert weights.sha256 == hashlib.sha256(mat.read_bytes()).hexdigest()


def test_kernels_are_turned_the_right_way(mat):
    """A convolution by hand with a kernel as the file stores it, [h, w, in, out]: rows first, not flipped."""
    layer = scipy_io.loadmat(mat, simplify_cells=True)["layers"][0]
    kernel, bias = layer["weights"] if "weights" in layer else (layer["filters"], layer["biases"])
    picture = np.random.default_rng(0).random((5, 6, 3))  # h, w, rgb
    expected = np.zeros((3, 4, 64))
    for y in range(3):
        for x in range(4):
            expected[y, x] = np.einsum("ijc, ijco -> o", picture[y : y + 3, x : x + 3], kernel) + bias
    state = load_vgg19("matconvnet", mat).state
    weight, bias = state["features.0.weight"].double(), state["features.0.bias"].double()
    found = F.conv2d(torch.from_numpy(picture).permute(2, 0, 1)[None], weight, bias)
    assert_close(found[0].permute(1, 2, 0), torch.from_numpy(expected))


def test_torchvision(tmp_path, full_vgg19, pair):
    state = {**full_vgg19, "classifier.0.weight": torch.zeros(3)}
    torch.save(state, tmp_path / "own.pth")
    weights = load_vgg19("torchvision", tmp_path / "own.pth")
    assert list(weights.state) == list(full_vgg19)
    assert weights.kind == "torchvision"
    assert weights.sha256 == hashlib.sha256((tmp_path / "own.pth").read_bytes()).hexdigest()
    assert PerceptualLoss(weights.state)(*pair()) == PerceptualLoss(state)(*pair())


def test_the_name_says_how_the_checksum_begins(tmp_path, full_vgg19):
    torch.save(full_vgg19, tmp_path / VGG19)
    text = message(load_vgg19, "torchvision", tmp_path / VGG19)
    assert str(tmp_path / VGG19) in text
    assert "dcbb9e9d" in text
    digest = hashlib.sha256((tmp_path / VGG19).read_bytes()).hexdigest()
    right = (tmp_path / VGG19).rename(tmp_path / f"vgg19-{digest[:8]}.pth")
    assert load_vgg19("torchvision", right).sha256 == digest


@pytest.mark.parametrize("place", [0, 1])
def test_default_places(no_cache, mat, place):
    (no_cache[place] / MAT).hardlink_to(mat)
    assert load_vgg19("matconvnet").file == no_cache[place] / MAT


def test_our_cache_comes_first_and_lies_at_home(no_cache, small, monkeypatch, tmp_path):
    monkeypatch.delenv("RAYZER_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".cache/rayzer").mkdir(parents=True)
    for folder in (tmp_path / ".cache/rayzer", no_cache[1]):
        write(folder / MAT, small)
    assert str(tmp_path / ".cache/rayzer" / MAT) in message(load_vgg19, "matconvnet")


@pytest.mark.parametrize(
    ("load", "name", "address"),
    [
        (lambda: load_vgg19("matconvnet"), MAT, "https://www.vlfeat.org/matconvnet/models/"),
        (lambda: load_vgg19("torchvision"), VGG19, "https://download.pytorch.org/models/"),
        (load_lpips, VGG16, "https://download.pytorch.org/models/"),
    ],
)
def test_absent_files(no_cache, load, name, address):
    text = message(load)
    for part in (str(no_cache[0] / name), str(no_cache[1] / name), address + name, "weight of this loss to 0"):
        assert part in text


def test_an_absent_file_that_was_named(no_cache, mat, tmp_path):
    (no_cache[0] / MAT).hardlink_to(mat)
    assert str(tmp_path / "x.mat") in message(load_vgg19, "matconvnet", tmp_path / "x.mat")
    assert str(tmp_path) in message(load_vgg19, "matconvnet", tmp_path)


def test_without_scipy(monkeypatch, tmp_path, small):
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    assert 'pip install "rayzer[matlab]"' in message(load_vgg19, "matconvnet", write(tmp_path / MAT, small))


def changed(layers, index, **fields):
    return [{**layer, **fields} if i == index else layer for i, layer in enumerate(layers)]


def test_shapes_are_those_of_vgg19(tmp_path, small):
    text = message(load_vgg19, "matconvnet", write(tmp_path / MAT, small))
    assert f"{tmp_path / MAT}: conv1_2: kernel is" in text
    assert "[3, 3, 4, 4] but should be floating point [3, 3, 64, 64]" in text


KERNEL, BIAS = np.ones((3, 3, 3, 64), np.float32), np.ones((1, 64), np.float32)
WRONG_WEIGHTS = {
    "flipped": (KERNEL.transpose(3, 2, 0, 1), BIAS),
    "bias": (KERNEL, BIAS[:, :63]),
    "integers": (KERNEL.astype(np.int16), BIAS),
    "text": ("kernel", BIAS),
    "struct": ({"a": KERNEL}, BIAS),
    "complex": (KERNEL * 1j, BIAS),
    "cell": (cell([KERNEL]), BIAS),
    "one": (KERNEL,),
    "three": (KERNEL, BIAS, BIAS),
    "infinite": (KERNEL, BIAS * np.inf),
    "nothing": (),
}


@pytest.mark.parametrize("wrong", WRONG_WEIGHTS)
def test_weights_that_are_none(tmp_path, small, wrong):
    path = write(tmp_path / MAT, changed(small, 0, weights=cell(WRONG_WEIGHTS[wrong])))
    assert f"{path}: conv1_1" in message(load_vgg19, "matconvnet", path)


@pytest.mark.parametrize("fields", [{}, {"filters": KERNEL}, {"biases": BIAS}, {"weights": 3.0}, {"weights": "a"}])
def test_layers_without_weights(tmp_path, small, fields):
    layers = [{"name": "conv1_1", "type": "conv", **fields}, *small[1:]]
    assert "conv1_1" in message(load_vgg19, "matconvnet", write(tmp_path / MAT, layers))


@pytest.mark.parametrize("change", ["swapped", "missing", "more", "renamed"])
def test_convolutions_in_another_order(tmp_path, small, change):
    layers = {
        "swapped": [small[2], small[1], small[0], *small[3:]],
        "missing": small[:-4],
        "more": [*small, small[0]],
        "renamed": changed(small, 2, name="conv1_3"),
    }[change]
    assert "conv1_1 to conv5_4" in message(load_vgg19, "matconvnet", write(tmp_path / MAT, layers))


@pytest.mark.parametrize(
    "content",
    [
        {"net": 1.0},
        {"layers": 1.0},
        {"layers": "conv1_1"},
        {"layers": {"name": "conv1_1"}},
        {"layers": cell([])},
        {"layers": cell([1.0, "a"])},
        {"layers": cell([{"type": "conv"}])},
        {"layers": cell([{"name": 3.0}])},
        {"layers": cell([{"name": cell(["conv1_1"])}])},
    ],
    ids=str,
)
def test_other_matlab_files(tmp_path, content):
    scipy_io.savemat(tmp_path / MAT, content)
    assert str(tmp_path / MAT) in message(load_vgg19, "matconvnet", tmp_path / MAT)


@pytest.mark.parametrize("compressed", [False, True])
def test_damaged_matlab_files(tmp_path, small, compressed):
    content = write(tmp_path / MAT, small, do_compression=compressed).read_bytes()
    random = np.random.default_rng(0)
    for length in (0, 3, 100, 128, 200, len(content) // 2):
        (tmp_path / MAT).write_bytes(content[:length])
        assert str(tmp_path / MAT) in message(load_vgg19, "matconvnet", tmp_path / MAT)
    for _ in range(20):
        broken = bytearray(content)
        broken[random.integers(128, min(len(content), 1000))] ^= 1 << random.integers(8)
        (tmp_path / MAT).write_bytes(broken)
        assert str(tmp_path / MAT) in message(load_vgg19, "matconvnet", tmp_path / MAT)


@pytest.mark.filterwarnings("ignore:Validating sparse")
def test_other_tensor_files(tmp_path, narrow_vgg19):
    first = {"features.0.weight": torch.ones(64, 3, 3, 3), "features.0.bias": torch.ones(64)}
    for content, named in [
        ([1], "state dict"),
        ({}, "features.0.weight"),
        ({"model": {}}, "features.0.weight"),
        (narrow_vgg19, "features.0.weight is [4, 3, 3, 3] but should be [64, 3, 3, 3]"),
        ({**first, "features.0.bias": "a"}, "features.0.bias"),
        ({**first, "features.0.bias": torch.ones(64, dtype=torch.int64)}, "features.0.bias"),
        ({**first, "features.0.weight": torch.ones(64, 3, 3, 3) * torch.nan}, "features.0.weight is not finite"),
        ({**first, "features.0.weight": torch.ones(64, 3, 3, 3).to_sparse()}, "features.0.weight"),
        (first, "features.2.weight is missing"),
    ]:
        torch.save(content, tmp_path / "x.pth")
        text = message(load_vgg19, "torchvision", tmp_path / "x.pth")
        assert str(tmp_path / "x.pth") in text
        assert named in text


def test_damaged_tensor_files(tmp_path, narrow_vgg19):
    torch.save(narrow_vgg19, tmp_path / "x.pth")
    content = (tmp_path / "x.pth").read_bytes()
    for broken in (b"", b"no", content[:100], content[: len(content) // 2]):
        (tmp_path / "x.pth").write_bytes(broken)
        assert str(tmp_path / "x.pth") in message(load_vgg19, "torchvision", tmp_path / "x.pth")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_no_code_is_run(tmp_path, malicious):
    mark = tmp_path / "was-here"
    evil = {"features.0.weight": malicious(f"touch {mark}")}
    torch.save(evil, tmp_path / "zip.pth")
    torch.save(evil, tmp_path / "legacy.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(evil))
    for name in ("zip.pth", "legacy.pth", "plain.pth"):
        assert f"{tmp_path / name}: not a file of tensors" in message(load_vgg19, "torchvision", tmp_path / name)
    assert not mark.exists()
    pickle.loads((tmp_path / "plain.pth").read_bytes())  # noqa: S301
    assert mark.exists()  # it would have worked


def test_files_that_may_not_be_read(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "x.pth").touch()
    monkeypatch.setattr("rayzer.losses.pretrained.file_sha256", refuse)
    assert f"{tmp_path / 'x.pth'}: cannot be read" in message(load_vgg19, "torchvision", tmp_path / "x.pth")


@pytest.fixture
def trunk(tmp_path):
    """A file that stands for VGG-16 where only the linear weights matter."""
    (tmp_path / "vgg16.pth").touch()
    return tmp_path / "vgg16.pth"


def test_linear_weights_without_the_package(trunk, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert 'pip install "rayzer[metrics]"' in message(load_lpips, trunk)


def test_linear_weights_that_are_absent_or_others(trunk, tmp_path):
    assert str(tmp_path / "no.pth") in message(load_lpips, trunk, tmp_path / "no.pth")
    torch.save({"lin0.model.1.weight": torch.ones(1, 63, 1, 1)}, tmp_path / "linear.pth")
    text = message(load_lpips, trunk, tmp_path / "linear.pth")
    assert f"{tmp_path / 'linear.pth'}: lin0.model.1.weight is [1, 63, 1, 1]" in text


def test_the_package_is_not_imported(trunk, monkeypatch):
    pytest.importorskip("lpips")
    monkeypatch.delitem(sys.modules, "lpips")
    assert str(trunk) in message(load_lpips, trunk)  # the linear weights were read before it was
    assert "lpips" not in sys.modules
