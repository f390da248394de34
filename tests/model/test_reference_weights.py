"""Reference `.pt` files: read strictly, never trusted, and written back bit for bit."""

import pickle
import zipfile

import pytest
import torch
from torch.testing import assert_close

import rayzer
from rayzer import InputError
from rayzer.model.reference_names import to_reference
from rayzer.model.weights import read_reference_state, save_reference

VARIANTS = [
    ("rayzer", {}),
    ("rayzer", {"qk_norm": False}),
    ("rayzer", {"position_code": "none"}),
    ("rayzer", {"rotation": "quaternion", "canonical": "first", "camera_layers": 11}),
    ("lvsm", {}),
    ("lvsm", {"qk_norm": False}),
    ("lvsm_decoder_only", {}),
]


def message(function, *args):
    with pytest.raises(InputError) as error:
        function(*args)
    text = str(error.value)
    assert "\n" not in text
    assert "weights_only" not in text  # torch's own message recommends to switch it off
    return text


@pytest.fixture
def pt(recordings_folder):
    return recordings_folder / "rayzer_tiny.pt"


@pytest.fixture
def yaml(recordings_folder):
    return recordings_folder / "rayzer_tiny.yaml"


@pytest.fixture
def altered(pt, tmp_path):
    """Makes a copy of a recorded checkpoint whose state dict is changed by a function."""

    def make(change, **extra):
        state = torch.load(pt, weights_only=True)["model"]
        torch.save({"model": change(state), **extra}, tmp_path / "altered.pt")
        return tmp_path / "altered.pt"

    return make


def same(a, b):
    return list(a) == list(b) and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("name", ["rayzer_tiny", "rayzer_options", "lvsm_encdec_tiny", "lvsm_deconly_tiny"])
def test_recorded_checkpoints_survive_both_conversions(recordings_folder, tmp_path, name):
    original = read_reference_state(recordings_folder / f"{name}.pt")
    model = rayzer.load_model(recordings_folder / f"{name}.pt", recordings_folder / f"{name}.yaml")
    rayzer.save_model(model, tmp_path / "folder")
    save_reference(rayzer.load_model(tmp_path / "folder"), tmp_path / "back.pt")
    back = read_reference_state(tmp_path / "back.pt")
    assert sorted(original) == sorted(back)
    assert same(dict(sorted(original.items())), dict(sorted(back.items())))
    assert {path.name for path in tmp_path.iterdir()} == {"folder", "back.pt"}


@pytest.mark.parametrize(("kind", "options"), VARIANTS, ids=str)
def test_every_variant_survives_both_conversions(tiny_model, sample, tmp_path, kind, options):
    model = tiny_model(kind, **options)
    save_reference(model, tmp_path / "a.pt")
    back = rayzer.load_model(tmp_path / "a.pt", model.config)
    assert same(model.state_dict(), back.state_dict())
    images, split, cameras = sample(5)
    given = () if kind == "rayzer" else (cameras,)
    assert torch.equal(model(images, split, *given).images, back(images, split, *given).images)


def test_reference_names_are_those_of_the_specification(tiny_model):
    inner = ["norm1", "attn.to_qkv", "attn.q_norm", "attn.k_norm", "attn.fc", "norm2", "mlp.mlp.0", "mlp.mlp.2"]
    stacks = ["transformer_encoder", "transformer_encoder_geom", "transformer_decoder"]
    blocks = {f"{stack}.{i}.{name}.weight" for stack in stacks for i in range(2) for name in inner}
    linears = ["pe_embedder", "temporal_pe_embedder", "pose_predictor.rel_head", "pose_predictor.canonical_k_head"]
    biased = [f"{name}.{i}" for name in linears for i in (0, 2)] + ["mlp_fuse.1", "mlp_fuse.3"]
    tokenizers = ["image_tokenizer.1", "target_pose_tokenizer.1", "target_pose_tokenizer2.1"]
    plain = [*tokenizers, "decoder_ln", "mlp_fuse.0", "image_token_decoder.0", "image_token_decoder.1", *biased]
    expected = {f"{name}.weight" for name in plain} | {f"{name}.bias" for name in biased}
    assert set(to_reference(tiny_model())) == expected | blocks | {"scene_code", "cam_code"}


def test_parts_that_are_off_have_no_keys(tiny_model):
    names = to_reference(tiny_model(qk_norm=False, position_code="none"))
    assert not [name for name in names if "q_norm" in name or "k_norm" in name or "pe_embedder" in name]


def test_prefix_and_frozen_loss_weights(altered, pt, yaml, caplog):
    def change(state):
        loss = {"loss_computer.vgg.0.weight": torch.zeros(3), "loss_computer.x": torch.zeros(1)}
        return {f"module.{name}": value for name, value in {**state, **loss}.items()}

    with caplog.at_level("INFO", "rayzer"):
        model = rayzer.load_model(altered(change, optimizer={"step": 3}, param_update_step=5), yaml)
    assert same(model.state_dict(), rayzer.load_model(pt, yaml).state_dict())
    assert [record.message for record in caplog.records if "loss_computer" in record.message] == [
        f"{altered(change)}: left out the weights of the training loss (loss_computer.*): 2"
    ]


def without(name):
    return lambda state: {key: value for key, value in state.items() if key != name}


def renamed(old, new):
    return lambda state: {new if key == old else key: value for key, value in state.items()}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (without("scene_code"), ["1 missing", "scene_code"]),
        (lambda s: {**s, "extra.weight": torch.zeros(1)}, ["1 unexpected", "extra.weight"]),
        (renamed("cam_code", "camera_code"), ["missing", "(cam_code)", "unexpected", "camera_code"]),
        (renamed("cam_code", "camera_estimator.camera_token"), ["missing", "cam_code", "unexpected"]),
        (lambda s: {**s, "camera_estimator.camera_token": s["cam_code"]}, ["camera_estimator.camera_token"]),
        (lambda s: {**s, "module.cam_code": s["cam_code"]}, ["1 unexpected", "module.cam_code"]),
        (lambda s: {**s, "cam_code": torch.zeros(1, 5)}, ["cam_code", "[1, 5] but should be [1, 64]"]),
        (lambda s: {**s, "cam_code": s["cam_code"].T}, ["cam_code", "[64, 1] but should be [1, 64]"]),
        (lambda s: {**s, "cam_code": s["cam_code"].long()}, ["not floating point", "cam_code"]),
        (lambda s: {**s, "cam_code": "text"}, ["state dict"]),
        (lambda s: list(s.values()), ["state dict"]),
        (lambda s: {}, ["missing"]),
    ],
)
def test_wrong_keys_are_named(altered, yaml, change, named):
    path = altered(change)
    text = message(rayzer.load_model, path, yaml)
    assert str(path) in text
    for word in named:
        assert word in text


def test_another_configuration_is_refused(pt, recordings_folder):
    text = message(rayzer.load_model, pt, recordings_folder / "rayzer_options.yaml")
    assert str(pt) in text
    assert "transformer_encoder.0.attn.q_norm.weight" in text
    assert str(pt) in message(rayzer.load_model, pt, recordings_folder / "lvsm_encdec_tiny.yaml")
    assert str(pt) in message(rayzer.load_model, pt, "smoke")


def test_needs_a_configuration(pt):
    text = message(rayzer.load_model, pt)
    assert str(pt) in text
    assert "config" in text
    assert "nowhere.yaml" in message(rayzer.load_model, pt, "nowhere.yaml")


def test_a_preset_or_a_configuration_in_place_of_yaml(tiny_model, tmp_path):
    from rayzer.configs import PRESETS
    from rayzer.model.weights import build_model

    model = build_model(PRESETS["smoke"]().model)
    save_reference(model, tmp_path / "smoke.pt")
    read = rayzer.load_model(tmp_path / "smoke.pt", "smoke")
    assert same(model.state_dict(), read.state_dict())
    assert model.config.position_code == "row_column"
    assert read.config.position_code == "reference"  # what the weights of a reference file were trained with


def test_saving_keeps_the_reference_position_code(pt, yaml, tmp_path):
    rayzer.save_model(rayzer.load_model(pt, yaml), tmp_path / "m")
    assert rayzer.load_model(tmp_path / "m").config.position_code == "reference"


def test_weights_the_reference_would_misread_are_not_written(tiny_model, tmp_path):
    model = tiny_model(image_width=24)
    text = message(save_reference, model, tmp_path / "x.pt")
    assert str(tmp_path / "x.pt") in text
    assert list(tmp_path.iterdir()) == []
    save_reference(tiny_model(image_width=24, position_code="reference"), tmp_path / "x.pt")


def test_a_file_that_cannot_be_written(tiny_model, tmp_path):
    assert "cannot be written" in message(save_reference, tiny_model(), tmp_path / "no" / "x.pt")
    (tmp_path / "d").mkdir()
    assert "cannot be written" in message(save_reference, tiny_model(), tmp_path / "d")
    assert [p.name for p in tmp_path.iterdir()] == ["d"]


@pytest.mark.parametrize("share", [0, 0.001, 0.3, 0.9, 0.9999])
def test_truncated(pt, yaml, tmp_path, share):
    content = pt.read_bytes()
    (tmp_path / "t.pt").write_bytes(content[: int(share * len(content))])
    assert str(tmp_path / "t.pt") in message(rayzer.load_model, tmp_path / "t.pt", yaml)


@pytest.mark.parametrize("entry", ["data.pkl", "data/0", "data/7"])
def test_flipped_bit(pt, yaml, tmp_path, entry):
    info = next(i for i in zipfile.ZipFile(pt).infolist() if i.filename.endswith("/" + entry))
    content = bytearray(pt.read_bytes())
    content[content.index(info.filename.encode(), info.header_offset) + 300] ^= 4
    (tmp_path / "flipped.pt").write_bytes(content)
    assert str(tmp_path / "flipped.pt") in message(rayzer.load_model, tmp_path / "flipped.pt", yaml)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("content", [b"not a checkpoint\n", b"\x80\x04", b"PK\x03\x04" + bytes(200), b"\x00" * 5000])
def test_something_else_named_pt(yaml, tmp_path, content):
    (tmp_path / "x.pt").write_bytes(content)
    assert str(tmp_path / "x.pt") in message(rayzer.load_model, tmp_path / "x.pt", yaml)


@pytest.mark.parametrize("content", [torch.zeros(3), [1], {"state_dict": {}}, {"model": None}])
def test_a_tensor_file_of_another_form(yaml, tmp_path, content):
    torch.save(content, tmp_path / "x.pt")
    assert "state dict" in message(rayzer.load_model, tmp_path / "x.pt", yaml)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_no_code_is_run(yaml, tmp_path, malicious):
    mark = tmp_path / "was-here"
    evil = malicious(f"touch {mark}")
    torch.save({"model": {"scene_code": evil}}, tmp_path / "zip.pt")
    torch.save({"model": {}, "x": evil}, tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "plain.pt").write_bytes(pickle.dumps({"model": evil}))
    for name in ("zip.pt", "legacy.pt", "plain.pt"):
        text = message(rayzer.load_model, tmp_path / name, yaml)
        assert str(tmp_path / name) in text
        assert "run code" in text
    assert not mark.exists()
    pickle.loads((tmp_path / "plain.pt").read_bytes())  # noqa: S301
    assert mark.exists()  # it would have worked


def test_files_of_old_torch_versions_load(pt, yaml, tmp_path):
    content = torch.load(pt, weights_only=True)
    torch.save(content, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert same(rayzer.load_model(tmp_path / "old.pt", yaml).state_dict(), rayzer.load_model(pt, yaml).state_dict())


def test_half_precision_weights_load_as_float32(altered, yaml, recordings_folder):
    model = rayzer.load_model(altered(lambda state: {k: v.half() for k, v in state.items()}), yaml)
    exact = rayzer.load_model(recordings_folder / "rayzer_tiny.pt", yaml)
    for a, b in zip(model.parameters(), exact.parameters(), strict=True):
        assert a.dtype == torch.float32
        assert_close(a, b, rtol=1e-3, atol=1e-4)
