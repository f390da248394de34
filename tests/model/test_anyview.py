"""What AnyViewRayZer promises beyond the contract of all models: any views, a kept scene, bounded focal lengths."""

import dataclasses

import pytest
import torch
from torch.testing import assert_close

from rayzer import Cameras, InputError, ViewSplit
from rayzer.model.anyview import FOCAL_RANGE
from rayzer.model.camera_estimator import MEAN_FOCAL
from rayzer.model.view_transformer import ReadingBlock

OPTIONS = [
    {},
    {"relative_cameras": False, "rotation": "quaternion", "canonical": "first"},
    {"order_code": "index", "camera_layers": 3, "scene_layers": 1},
    {"order_code": "relative"},
]


def close(a, b, atol=1e-5):
    assert_close(a, b, rtol=0, atol=atol)


def differ(a, b):
    return (a - b).abs().max() > 1e-4


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(("views", "size"), [(2, (16, 16)), (5, (16, 24)), (8, (40, 16))])
def test_stages_equal_forward(tiny_model, sample, options, views, size):
    model = tiny_model("anyview", **options)
    images, split, _ = sample(views, *size)
    whole = model(images, split)
    cameras = model.estimate_cameras(images)
    scene = model.reconstruct(split.context_of(images), split.context_of(cameras))
    assert torch.equal(cameras.world_from_camera, whole.cameras.world_from_camera)
    assert torch.equal(cameras.intrinsics, whole.cameras.intrinsics)
    assert torch.equal(model.render(scene, split.target_of(cameras)), whole.images)
    assert whole.images.shape == (2, views // 2, 3, *size)
    assert 0 <= whole.images.min() < whole.images.max() <= 1


@pytest.mark.parametrize(("context", "target"), [(1, 1), (1, 9), (9, 1), (2, 3), (4, 4), (9, 9)])
def test_any_number_of_views(tiny_model, sample, context, target):
    images = sample(context + target)[0]
    places = torch.arange(context + target).expand(2, -1)
    out = tiny_model("anyview")(images, ViewSplit(places[:, :context], places[:, context:]))
    assert out.images.shape == (2, target, 3, 16, 16)
    assert out.cameras.shape == (2, context + target)
    assert out.images.isfinite().all()


@pytest.mark.parametrize("options", OPTIONS[:2], ids=str)
def test_a_scene_without_its_memory_renders_the_same(tiny_model, sample, options):
    model = tiny_model("anyview", **options)
    images, split, cameras = sample(7, 16, 24)
    scene = model.reconstruct(split.context_of(images), split.context_of(cameras))
    assert len(scene.memory) == model.config.renderer_layers
    assert {tuple(x.shape) for layer in scene.memory for x in layer} == {(2, 2, 4 * 6, 16)}
    close(model.render(dataclasses.replace(scene, memory=()), cameras), model.render(scene, cameras))


def test_what_is_kept_is_computed_once(tiny_model, sample, monkeypatch):
    model = tiny_model("anyview")
    images, _, cameras = sample(5)
    calls, real = [], ReadingBlock._memorize
    monkeypatch.setattr(ReadingBlock, "_memorize", lambda *args: calls.append(1) or real(*args))
    scene = model.reconstruct(images, cameras)
    for _ in range(3):
        model.render(scene, cameras)
    assert len(calls) == model.config.renderer_layers


def test_a_scene_of_another_model_is_refused(tiny_model, sample):
    images, _, cameras = sample(5)
    scene = tiny_model().reconstruct(images, cameras)
    with pytest.raises(InputError, match="another model made it"):
        tiny_model("anyview").render(scene, cameras)


def test_the_order_of_context_views_does_not_matter(tiny_model, sample):
    model = tiny_model("anyview")
    images, split, cameras = sample(7)
    order = torch.tensor([2, 0, 3, 1])
    shuffled = ViewSplit(split.context[:, order], split.target)
    close(model(images, shuffled).images, model(images, split).images)
    scene = model.reconstruct(images[:, [4, 1, 0]], cameras[:, [4, 1, 0]])
    same = model.reconstruct(images[:, [0, 1, 4]], cameras[:, [0, 1, 4]])
    close(model.render(scene, cameras), model.render(same, cameras))
    mismatched = model.reconstruct(images[:, [0, 1, 4]], cameras[:, [4, 1, 0]])
    assert differ(model.render(mismatched, cameras), model.render(same, cameras))


@pytest.mark.parametrize("options", [{}, {"order_code": "relative"}], ids=str)
def test_the_order_of_all_views_does_not_matter_to_cameras(tiny_model, sample, options):
    model = tiny_model("anyview", **options)
    images, split, _ = sample(5)
    order = [3, 0, 4, 2, 1]
    positions = torch.tensor([0, 3, 4, 10, 11])
    for given, moved in ((torch.zeros(5), torch.zeros(5)), (positions, positions[order])):
        before = model(images, split, given, canonical=2).cameras
        after = model(images[:, order], split, moved, canonical=order.index(2)).cameras
        close(after.world_from_camera, before.world_from_camera[:, order])
        close(after.intrinsics, before.intrinsics)
    assert differ(model(images, split, positions).cameras.centers, model(images, split).cameras.centers) == bool(
        options
    )


@pytest.mark.parametrize("canonical", [None, 0, 3, 6])
def test_the_canonical_view_is_exactly_the_identity(tiny_model, sample, canonical):
    model = tiny_model("anyview")
    images, split, _ = sample(7)
    poses = model(images, split, canonical=canonical).cameras.world_from_camera
    is_identity = (poses == torch.eye(4)).flatten(2).all(-1)
    expected = 3 if canonical is None else canonical
    assert is_identity.tolist() == [[view == expected for view in range(7)]] * 2
    with pytest.raises(InputError, match=r"canonical = 7: .* 0 to 6"):
        model(images, split, canonical=7)


@pytest.mark.parametrize("size", [(16, 16), (16, 40), (24, 16)])
def test_pixels_are_square_and_focal_lengths_are_of_the_short_side(tiny_model, sample, size):
    model = tiny_model("anyview")
    images, _, _ = sample(3, *size)
    height, width = size
    fx, fy = model.estimate_cameras(images).intrinsics[..., :2].unbind(-1)
    close(fx * width, fy * height)
    head = model.camera_estimator.head
    of_short_side = head(model.camera_tokens(images)).intrinsics[..., 0]
    close(torch.maximum(fx, fy), of_short_side)
    assert ((of_short_side > FOCAL_RANGE[0]) & (of_short_side < FOCAL_RANGE[1])).all()


@pytest.mark.parametrize(("change", "focal"), [(-1e9, FOCAL_RANGE[0]), (0.0, MEAN_FOCAL), (1e9, FOCAL_RANGE[1])])
def test_focal_lengths_are_bounded(tiny_model, sample, change, focal):
    model = tiny_model("anyview")
    images, split, _ = sample(5)
    with torch.no_grad():
        model.camera_estimator.head.focal[-1].weight.zero_()
        model.camera_estimator.head.focal[-1].bias.fill_(change)
    out = model(images, split)
    close(out.cameras.intrinsics[..., :2], torch.full((2, 5, 2), focal), atol=1e-6)
    out.images.sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_without_a_code_positions_are_nothing(tiny_model, sample):
    model, (images, _, _) = tiny_model("anyview"), sample(5)
    tokens = model.camera_tokens(images)
    assert torch.equal(model.camera_tokens(images, torch.tensor([9, 7, 1, 0, 2])), tokens)
    with pytest.raises(InputError, match=r"positions .*\[2, 5\], got \[2, 4\]"):
        model.camera_tokens(images, torch.zeros(2, 4))


def test_index_codes_are_zero_to_v_unless_given(tiny_model, sample):
    model, (images, _, _) = tiny_model("anyview", order_code="index"), sample(5)
    tokens = model.camera_tokens(images)
    for given in (torch.arange(5), torch.arange(5).expand(2, 5)):
        assert torch.equal(model.camera_tokens(images, given), tokens)
    assert differ(model.camera_tokens(images, torch.arange(5) + 3), tokens)


def test_relative_codes_do_not_know_shift_and_scale(tiny_model, sample):
    model, (images, _, _) = tiny_model("anyview", order_code="relative"), sample(5)
    positions = torch.tensor([[0, 2, 3, 7, 8], [1, 2, 3, 4, 5]])
    tokens = model.camera_tokens(images, positions)
    for same in (positions + 100, positions * 8, positions * torch.tensor([[3], [5]]) - 7):
        close(model.camera_tokens(images, same), tokens)
    assert differ(model.camera_tokens(images, positions.square()), tokens)
    assert differ(model.camera_tokens(images, positions.flip(1)), tokens)
    assert model.camera_tokens(images, torch.full((5,), 4)).isfinite().all()


def test_equal_positions_tell_no_order(tiny_model, sample):
    model, (images, _, _) = tiny_model("anyview", order_code="relative"), sample(5)
    assert torch.equal(model.camera_tokens(images), model.camera_tokens(images, torch.zeros(5)))
    order = torch.tensor([3, 1, 2, 0, 4])  # the canonical view stays in its place
    tokens = model.camera_tokens(images, torch.zeros(5))
    close(model.camera_tokens(images[:, order], torch.full((5,), 7)), tokens[:, order])
    places = torch.arange(5)
    assert differ(model.camera_tokens(images[:, order], places), model.camera_tokens(images, places)[:, order])
    assert torch.equal(model.positions_of(places[None]), places[None])
    assert tiny_model("anyview").positions_of(places[None]) is None


def test_the_estimator_may_be_shown_other_pictures(tiny_model, sample):
    model = tiny_model("anyview")
    (images, split, _), (shown, _, _) = sample(5), sample(5, seed=1)
    out, other = model(images, split, shown=shown), model.estimate_cameras(shown)
    assert torch.equal(out.cameras.world_from_camera, other.world_from_camera)
    scene = model.reconstruct(split.context_of(images), split.context_of(other))
    assert torch.equal(out.images, model.render(scene, split.target_of(other)))


def test_pictures_may_be_rendered_with_given_cameras(tiny_model, sample):
    model = tiny_model("anyview")
    images, split, cameras = sample(5)
    given = Cameras(cameras.world_from_camera.clone(), cameras.intrinsics)
    given.world_from_camera[1] = torch.nan  # of the second sample they are not known
    out, own = model(images, split, given=given), model(images, split)
    assert torch.equal(out.cameras.world_from_camera, own.cameras.world_from_camera)
    scene = model.reconstruct(split.context_of(images), split.context_of(cameras))
    close(out.images[0], model.render(scene, split.target_of(cameras))[0])
    close(out.images[1], own.images[1])
    assert differ(out.images[0], own.images[0])
    out.images[0].sum().backward(retain_graph=True)
    assert not any(p.grad.any() for p in model.camera_estimator.parameters() if p.grad is not None)
    out.images[1].sum().backward()
    gradients = [p.grad for p in model.camera_estimator.parameters()]
    assert all(grad.isfinite().all() for grad in gradients)
    assert any(grad.any() for grad in gradients)
    with pytest.raises(InputError, match="images need as many cameras"):
        model(images, split, given=given[:, :3])


@pytest.mark.parametrize("keeps_memory", [True, False])
def test_extended_scenes(tiny_model, sample, keeps_memory):
    model = tiny_model("anyview")
    images, _, cameras = sample(7)
    first, more = (model.reconstruct(images[:, part], cameras[:, part]) for part in (slice(4), slice(4, 7)))
    given = first if keeps_memory else dataclasses.replace(first, memory=())
    both = model.extend(given, images[:, 4:], cameras[:, 4:])
    assert torch.equal(both.tokens, torch.cat([first.tokens, more.tokens], 1))
    assert torch.equal(both.cameras.world_from_camera, cameras.world_from_camera)
    assert torch.equal(both.cameras.intrinsics, cameras.intrinsics)
    old = first.memory[0].key.shape[2]
    for layer, before, added in zip(both.memory, first.memory, more.memory, strict=True):
        for found, a, b in zip(layer, before, added, strict=True):
            assert torch.equal(found[:, :, :old], a)
            assert torch.equal(found[:, :, old:], b)
    pictures = model.render(both, cameras)
    close(pictures, model.render(dataclasses.replace(both, memory=()), cameras))
    assert differ(pictures, model.render(first, cameras))


def test_extending_with_pictures_of_another_size_or_number_is_refused(tiny_model, sample):
    model = tiny_model("anyview")
    (images, _, cameras), (others, _, _) = sample(4), sample(4, 16, 24)
    scene = model.reconstruct(images, cameras)
    with pytest.raises(InputError, match="2 of 16x16 pixels, not 2 of 24x16 pixels"):
        model.extend(scene, others, cameras)
    with pytest.raises(InputError, match="2 of 16x16 pixels, not 1 of 16x16 pixels"):
        model.extend(scene, images[:1], cameras[:1])


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("train", [False, True])
def test_gradient_reaches_every_parameter(tiny_model, sample, options, train):
    model = tiny_model("anyview", **options).train(train)
    images, split, _ = sample(5, 16, 24)
    positions = torch.tensor([3, 5, 6, 9, 10])
    model(images, split, positions).images.square().sum().backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert without == []


def test_no_parameter_is_left_out_without_positions(tiny_model, sample):
    """Processes that train together wait for the gradients of all."""
    model = tiny_model("anyview", order_code="relative").train()
    images, split, _ = sample(5)
    model(images, split).images.sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"width": 48, "head_width": 24}, "model.head_width = 24 is not a multiple of 16"),
        ({"width": 40}, "model.width = 40 is not a multiple of model.head_width = 16"),
        ({"camera_layers": 0}, "model.camera_layers = 0"),
        ({"image_height": 20}, "model.image_height = 20"),
    ],
    ids=str,
)
def test_unbuildable_configurations_are_refused(tiny_config, changes, named):
    with pytest.raises(InputError) as error:
        tiny_config("anyview", **changes)
    assert named in str(error.value)


def test_first_cameras_stand_near_the_canonical_one(tiny_config, sample):
    from rayzer.model.weights import build_model

    cameras = build_model(tiny_config("anyview")).estimate_cameras(sample(5)[0])
    close(cameras.world_from_camera, torch.eye(4).expand(2, 5, 4, 4), atol=1e-3)
    close(cameras.intrinsics[..., :2], torch.full((2, 5, 2), MEAN_FOCAL), atol=1e-3)


@pytest.mark.parametrize("renderer", ["joint", "one_way"])
def test_scenes_of_other_models_are_refused(tiny_model, sample, renderer):
    model, other = tiny_model("anyview"), tiny_model("rayzer", renderer=renderer)
    images, _, cameras = sample(4)
    of_model, of_other = model.reconstruct(images, cameras), other.reconstruct(images, cameras)
    for extended in (lambda: model.render(of_other, cameras), lambda: model.extend(of_other, images, cameras)):
        with pytest.raises(InputError, match="another model made it"):
            extended()
    with pytest.raises(InputError, match="an AnyViewRayZer made it"):
        other.render(of_model, cameras)
