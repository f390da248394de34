"""Transfer, sweep and probe on procedural rooms, whose cameras are known."""

import json

import pytest
import torch

from rayzer.configs import load_config
from rayzer.data.dataset import Sample
from rayzer.devices import Runtime
from rayzer.evaluation.measure import Measurer
from rayzer.evaluation.no_leak import cameras_without_targets
from rayzer.evaluation.scoring import Scorer
from rayzer.evaluation.settings import EvaluationConfig
from rayzer.evaluation.transfer import exact, same_path
from rayzer.geometry.cameras import Cameras
from rayzer.model.anyview import AnyViewConfig
from rayzer.model.weights import build_model, save_model

CONTEXT, TARGET = [0, 2, 3, 5, 7], [1, 4, 6]
ANY_VIEWS = AnyViewConfig(
    image_height=32,
    image_width=32,
    context_views=5,
    target_views=3,
    patch_size=8,
    width=64,
    head_width=16,
    camera_layers=1,
    scene_layers=1,
    renderer_layers=1,
)


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    """Nine rooms, two pairs of rooms, view indices with five and three context views, and a model of each kind."""
    from rayzer import cli

    folder = tmp_path_factory.mktemp("rooms")
    small = ["--views", "8", "--image-size", "32", "--quality", "fast", "--workers", "1"]
    for name, more in (("rooms", ["--scenes", "9"]), ("pairs", ["--scenes", "2", "--pairs"])):
        with pytest.raises(SystemExit) as end:
            cli.main(["data", "synthesize", str(folder / name), *small, *more])
        assert end.value.code == 0
    names = [scene.name for part in ("rooms", "pairs") for scene in (folder / part).iterdir() if scene.is_dir()]
    for name, context in (("five.json", CONTEXT), ("three.json", CONTEXT[::2]), ("other.json", [1, 3, 5])):
        (folder / name).write_text(json.dumps({each: {"context": context, "target": TARGET} for each in names}))
    for kind, config in {"rayzer": load_config("smoke").model, "anyview": ANY_VIEWS}.items():
        torch.manual_seed(0)
        model = build_model(config)
        for parameter in model.camera_estimator.head.relative_pose.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        save_model(model, folder / kind)
    return folder


@pytest.fixture(params=["rayzer", "anyview"])
def kind(request):
    """The name of a model's folder among the rooms."""
    return request.param


def words(rooms, *more, kind="rayzer"):
    data = ["--scenes", rooms / "rooms/scenes.txt", "--view-index", rooms / "five.json", "--device", "cpu"]
    return ["evaluate", "--checkpoint", rooms / kind, *data, "evaluation.fly_throughs=0", *more]


def test_all_sections(tmp_path, rooms, kind, run, results, monkeypatch):
    from rayzer.evaluation import extras, probe

    monkeypatch.setattr(extras, "ProbeTraining", lambda: probe.ProbeTraining(iterations=20))
    more = ["--sweep", rooms / "three.json", "--pairs", rooms / "pairs/scenes.txt", "evaluation.probe=true"]
    code, _, err = run(*words(rooms, *more, "evaluation.fly_throughs=1", kind=kind), "-o", tmp_path / "out")
    assert (code, err) == (0, "")
    found = results(tmp_path / "out")
    assert [(row["context"], row["targets"], row["scenes"]) for row in found["view_counts"]] == [(3, 3, 9), (5, 3, 9)]
    assert found["view_counts"][1]["psnr"] == found["summary"]["psnr"]
    assert found["transfer"]["exact"]["pairs"] == 2
    assert found["transfer"]["re_estimated"]["pairs"] == 4
    assert (found["probe"]["train_scenes"], found["probe"]["test_scenes"]) == (5, 4)
    assert found["poses"]["scenes"] == 9
    assert found["poses"]["straight_line"]["rpa"]["15"] is not None
    assert set(found["not_computed"]) == {"lpips", "protocol_reference"}
    assert found["config"]["kind"] == kind
    assert ("in the place of each target" in found["no_leak"]["note"]) == (kind == "rayzer")
    assert len([scene for scene in found["scenes"] if scene["fly_through"]]) == 1
    page = " ".join((tmp_path / "out/index.html").read_text().split())
    note, name = {"rayzer": ("fixed number of", "RayZer"), "anyview": ("any number of", "AnyViewRayZer")}[kind]
    assert f"This model takes {'a ' if kind == 'rayzer' else ''}{note} views" in page
    assert f">{name}<" in page
    assert [path.name for path in (tmp_path / "out/scenes").iterdir() if not path.name.isdigit()] == []


def test_transfer_is_what_the_protocol_says(rooms, kind):
    """The other scene's cameras, one step after another."""
    from rayzer import load_model
    from rayzer.view_split import ViewSplit

    model = load_model(rooms / kind)
    images = torch.rand(2, 8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    split = ViewSplit(torch.tensor([CONTEXT] * 2), torch.tensor([TARGET] * 2))
    with torch.no_grad():
        own, other = exact(model, images, torch.arange(8).expand(2, -1), split)
        assert torch.allclose(own, model(images, split).images, atol=1e-6)
        of_a = model.estimate_cameras(images[:1])
        positions = torch.tensor([CONTEXT])
        scene_b = model.reconstruct(images[1:, CONTEXT], of_a[:, CONTEXT], positions)
        expected = model.render(scene_b, of_a[:, TARGET])
    assert torch.allclose(other[1], expected[0], atol=1e-6)
    assert not torch.allclose(other[1], own[1], atol=1e-5)


def test_a_path_is_the_same_up_to_rounding_only():
    poses = torch.eye(4).repeat(4, 1, 1)
    poses[:, 0, 3] = torch.arange(4.0)
    first = Cameras(poses, torch.ones(4, 4))
    assert same_path(first, Cameras(poses + 1e-5, torch.ones(4, 4)))
    moved = poses.clone()
    moved[2, 1, 3] = 0.1
    assert not same_path(first, Cameras(moved, torch.ones(4, 4)))
    assert not same_path(first, first[:3])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--sweep", "other.json"], "neither within that of another index nor around it"),
        (["--sweep", "five.json"], "each number of context views once"),
        (["--pairs", "rooms/scenes.txt"], "two in a row for each path"),
        (["--pairs", "odd.txt"], "were not filmed along one path"),
    ],
)
def test_what_is_not_a_sweep_or_a_pair(tmp_path, rooms, run, change, message):
    scenes = sorted(path for path in (rooms / "rooms").iterdir() if path.is_dir())
    (rooms / "odd.txt").write_text("".join(f"{scene}\n" for scene in scenes[:2]))
    code, _, err = run(*words(rooms, change[0], rooms / change[1]), "-o", tmp_path / "out")
    assert code == 2
    assert message in err


def test_target_pictures_have_no_part_in_the_no_leak_score(rooms, kind):
    """Whatever the targets show, the pictures rendered without them are the same."""
    from rayzer import load_model
    from rayzer.view_split import ViewSplit

    model = load_model(rooms / kind)
    measurer = Measurer(model, EvaluationConfig(), "default", Runtime(torch.device("cpu"), False), Scorer(None))
    images = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    spoiled = images.clone()
    spoiled[TARGET] = 255
    split = ViewSplit(torch.tensor([CONTEXT]), torch.tensor([TARGET]))
    found = []
    for each in (images, spoiled):
        batch = measurer._batch([Sample(each, torch.arange(8), split, "room")])
        with torch.no_grad():
            found.append((measurer._no_leak(batch), measurer.render(batch, [None]).pictures))
    assert torch.equal(found[0][0], found[1][0])
    assert not torch.equal(found[0][1], found[1][1])


@pytest.mark.parametrize("context", [[0, 2, 3, 5, 7], [7, 2, 0, 5, 3]])
def test_an_any_view_model_sees_the_context_alone(rooms, split, context):
    """Its cameras are those of the context by itself, each in its place; a target has that of the view before it."""
    from rayzer import load_model

    model = load_model(rooms / "anyview")
    images = torch.rand(1, 8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        alone = model.estimate_cameras(images[:, context])
        found = cameras_without_targets(model, images, torch.arange(8)[None], split([context], [TARGET]))
    assert torch.equal(found[:, context].world_from_camera, alone.world_from_camera)
    assert torch.equal(found[:, TARGET].world_from_camera, found[:, [0, 3, 5]].world_from_camera)


def test_reference_precision_reaches_cameras_and_rays(rooms):
    """Under it the cameras are those of bfloat16, else they are those of float32 under any autocast."""
    from rayzer import load_model
    from rayzer.geometry.precision import reference_precision
    from rayzer.geometry.rays import pixel_rays

    head = load_model(rooms / "rayzer").camera_estimator.head
    tokens = torch.randn(1, 8, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain = head(tokens)
        with torch.autocast("cpu", torch.bfloat16):
            outside = head(tokens)
            with reference_precision():
                inside = head(tokens)
            assert torch.equal(head(tokens).world_from_camera, plain.world_from_camera)
    assert torch.equal(outside.world_from_camera, plain.world_from_camera)
    difference = (inside.world_from_camera - plain.world_from_camera).abs().max()
    assert 1e-5 < difference < 0.05
    exact = pixel_rays(plain[0], 256, 256)[1]
    with reference_precision():
        rounded = pixel_rays(plain[0], 256, 256)[1]
    off_px = 1.25 * 256 * torch.linalg.cross(exact, rounded).norm(dim=-1).mean()
    assert 0.3 < off_px < 1.2  # measured on the reference: about 0.6 px


def test_pictures_as_published_are_those_of_bfloat16(rooms):
    """Near the usual ones, but not equal, and rounded; what is usual is as before afterwards."""
    from rayzer import load_model
    from rayzer.view_split import ViewSplit

    model = load_model(rooms / "rayzer")
    measurer = Measurer(model, EvaluationConfig(), "reference", Runtime(torch.device("cpu"), False), Scorer(None))
    images = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    split = ViewSplit(torch.tensor([CONTEXT]), torch.tensor([TARGET]))
    batch = measurer._batch([Sample(images, torch.arange(8), split, "room")])
    with torch.no_grad():
        usual = measurer.render(batch, [None]).pictures
        published = measurer.as_published(batch, [None])
        assert torch.equal(measurer.render(batch, [None]).pictures, usual)
    assert torch.equal(published, published.bfloat16().float())
    assert 1e-4 < (published - usual).abs().max() < 0.05


def test_a_cpu_says_that_it_has_no_published_precision(tmp_path, rooms, run, results):
    assert run(*words(rooms, "--protocol", "reference"), "-o", tmp_path / "out")[0] == 0
    found = results(tmp_path / "out")
    assert found["protocol_reference"] is None
    assert "GPU" in found["not_computed"]["protocol_reference"]
    assert found["protocol"]["name"] == "reference"


@pytest.mark.gpu
def test_on_a_gpu(tmp_path, rooms, run, results):
    """All sections, the published precision among them; near the CPU's."""
    more = ["--sweep", rooms / "three.json", "--pairs", rooms / "pairs/scenes.txt", "--protocol", "reference"]
    for device in ("cpu", "cuda"):
        arguments = [device if word == "cpu" else word for word in words(rooms, *more)]
        assert run(*arguments, "evaluation.fly_throughs=1", "-o", tmp_path / device)[0] == 0
    cpu, gpu = results(tmp_path / "cpu"), results(tmp_path / "cuda")
    assert gpu["versions"]["precision"] == "bfloat16"
    for one, other in zip(cpu["scenes"], gpu["scenes"], strict=True):
        assert one["psnr"] == pytest.approx(other["psnr"], abs=0.05)
        assert one["controls"]["copy_nearest"] == pytest.approx(other["controls"]["copy_nearest"], abs=1e-4)
        assert other["protocol_reference"]["psnr"] == pytest.approx(other["psnr"], abs=0.05)
