"""What the stages of the models promise, whatever their weights are."""

import dataclasses

import pytest
import torch
from torch.testing import assert_close

from rayzer import Cameras, InputError, ViewSplit
from rayzer.model.transformer import BaseBlock, Block
from rayzer.model.view_transformer import ReadingBlock, ViewBlock

OPTIONS = [
    {},
    {"canonical": "first", "rotation": "quaternion"},
    {"qk_norm": False, "position_code": "none"},
    {"position_code": "reference", "image_height": 16, "image_width": 24},
]
KINDS = ["rayzer", "anyview", "lvsm", "lvsm_decoder_only"]
UNPOSED = ["rayzer", "anyview"]


def close(a, b, atol=1e-6):
    assert_close(a, b, rtol=0, atol=atol)


def render_all(model, images, split, cameras):
    given = () if model.estimates_cameras else (cameras,)
    return model(images, split, *given)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(("views", "size"), [(2, (16, 16)), (5, (16, 24)), (8, (24, 16))])
def test_stages_equal_forward(tiny_model, sample, options, views, size):
    model = tiny_model(**options)
    images, split, _ = sample(views, *size)
    whole = model(images, split)
    cameras = model.estimate_cameras(images)
    context = split.context_of(images)
    scene = model.reconstruct(context, split.context_of(cameras), positions=split.context)
    close(cameras.world_from_camera, whole.cameras.world_from_camera)
    close(cameras.intrinsics, whole.cameras.intrinsics)
    close(model.render(scene, split.target_of(cameras)), whole.images)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_cameras_are_the_head_of_the_camera_tokens(tiny_model, sample, options):
    model, (images, _, _) = tiny_model(**options), sample(5)
    shifted = torch.tensor([3, 4, 5, 6, 9]).expand(2, 5)
    tokens = model.camera_tokens(images)
    assert tokens.shape == (2, 5, model.config.width)
    for positions in (None, shifted):
        cameras = model.estimate_cameras(images, positions)
        from_tokens = model.camera_estimator.head(model.camera_tokens(images, positions))
        assert torch.equal(from_tokens.world_from_camera, cameras.world_from_camera)
        assert torch.equal(from_tokens.intrinsics, cameras.intrinsics)
    assert not torch.equal(model.camera_tokens(images, shifted), tokens)


@pytest.mark.parametrize("kind", ["lvsm", "lvsm_decoder_only"])
def test_stages_equal_forward_for_lvsm(tiny_model, sample, kind):
    model = tiny_model(kind)
    images, split, cameras = sample(5, 16, 24)
    scene = model.reconstruct(split.context_of(images), split.context_of(cameras))
    close(model.render(scene, split.target_of(cameras)), model(images, split, cameras).images)


def test_positions_are_zero_to_v_unless_given(tiny_model, sample):
    model = tiny_model()
    images, _, cameras = sample(5)
    shifted = torch.tensor([3, 4, 5, 6, 9])
    default = model.estimate_cameras(images)
    close(model.estimate_cameras(images, torch.arange(5).expand(2, 5)).world_from_camera, default.world_from_camera)
    moved = model.estimate_cameras(images, shifted.expand(2, 5))
    assert (moved.world_from_camera - default.world_from_camera).abs().max() > 1e-4
    one_for_all = model.estimate_cameras(images, shifted)  # [v] serves every sample
    assert torch.equal(one_for_all.world_from_camera, moved.world_from_camera)
    scenes = [model.reconstruct(images, cameras, p).tokens for p in (None, torch.arange(5), shifted)]
    close(scenes[0], scenes[1])
    assert (scenes[0] - scenes[2]).abs().max() > 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_targets_are_rendered_independently(tiny_model, sample, kind):
    model = tiny_model(kind)
    images, split, cameras = sample(7)
    scene = model.reconstruct(split.context_of(images), split.context_of(cameras))
    together = model.render(scene, cameras)
    alone = torch.cat([model.render(scene, cameras[:, i : i + 1]) for i in range(7)], 1)
    close(together, alone)
    shuffled = torch.tensor([3, 1, 6, 0, 5, 2, 4])
    close(model.render(scene, cameras[:, shuffled]), together[:, shuffled])


@pytest.mark.parametrize("kind", KINDS)
def test_samples_of_a_batch_are_independent(tiny_model, sample, kind):
    model = tiny_model(kind)
    images, split, cameras = sample(5)
    whole = render_all(model, images, split, cameras).images
    second = ViewSplit(split.context[1:], split.target[1:])
    close(render_all(model, images[1:], second, cameras[1:]).images, whole[1:])


def replace_cameras(model, others):
    """Let the estimator find other cameras; that of AnyViewRayZer tells points beside them."""

    def hook(module, inputs, found):
        return (others(found[0]), *found[1:]) if isinstance(found, tuple) else others(found)

    model.camera_estimator.register_forward_hook(hook)


@pytest.mark.parametrize("kind", UNPOSED)
def test_another_target_picture_changes_only_cameras(tiny_model, sample, kind):
    model = tiny_model(kind)
    images, split, fixed = sample(5)
    changed = images.clone()
    changed[:, split.target[0]] = 1 - images[:, split.target[0]]
    before, after = model(images, split), model(changed, split)
    assert (before.cameras.world_from_camera - after.cameras.world_from_camera).abs().max() > 1e-4
    replace_cameras(model, lambda _: fixed)
    assert torch.equal(model(images, split).images, model(changed, split).images)
    assert (before.images - model(images, split).images).abs().max() > 1e-4  # the hook is in use


@pytest.mark.parametrize("kind", UNPOSED)
def test_scene_takes_no_gradient_from_target_pixels(tiny_model, sample, kind):
    model = tiny_model(kind)
    images, split, _ = sample(5)
    images.requires_grad_()
    replace_cameras(model, Cameras.detach)
    model(images, split).images.square().sum().backward()
    assert split.target_of(images.grad).abs().max() == 0
    assert (split.context_of(images.grad).abs().amax((2, 3, 4)) > 0).all()


@pytest.mark.parametrize("kind", UNPOSED)
def test_target_pixels_reach_the_result_through_cameras(tiny_model, sample, kind):
    images, split, _ = sample(5)
    tiny_model(kind)(images.requires_grad_(), split).images.square().sum().backward()
    assert (split.target_of(images.grad).abs().amax((2, 3, 4)) > 0).all()


@pytest.mark.parametrize("views", [1, 2, 3, 6, 7])
@pytest.mark.parametrize("options", OPTIONS[:2], ids=str)
def test_canonical_view_is_exactly_the_identity(tiny_model, sample, options, views):
    cameras = tiny_model(**options).estimate_cameras(sample(views)[0])
    canonical = 0 if options else views // 2
    identity = torch.eye(4).expand(2, views, 4, 4)
    is_identity = (cameras.world_from_camera == identity).all(-1).all(-1)
    assert is_identity.tolist() == [[view == canonical for view in range(views)]] * 2


@pytest.mark.parametrize("kind", UNPOSED)
def test_estimated_cameras_are_rigid_and_share_one_focal_length(tiny_model, sample, kind):
    cameras = tiny_model(kind).estimate_cameras(sample(5)[0])
    close(cameras.rotations @ cameras.rotations.mT, torch.eye(3).expand(2, 5, 3, 3))
    assert_close(torch.linalg.det(cameras.rotations), torch.ones(2, 5))
    assert torch.equal(cameras.intrinsics, cameras.intrinsics[:, :1].expand(2, 5, 4))
    assert torch.equal(cameras.intrinsics[..., 0], cameras.intrinsics[..., 1])
    assert (cameras.intrinsics[..., 2:] == 0.5).all()


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("train", [False, True])
def test_gradient_reaches_every_parameter(tiny_model, sample, options, train):
    model = tiny_model(**options).train(train)
    images, split, _ = sample(5, 16, 24)
    model(images, split).images.square().sum().backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert without == []


@pytest.mark.parametrize("kind", KINDS)
def test_train_mode_changes_only_recomputation(tiny_model, sample, kind, monkeypatch):
    model = tiny_model(kind)
    images, split, cameras = sample(5)
    calls = []
    for block in (Block, ViewBlock, ReadingBlock):
        original = block._update
        counted = lambda *args, original=original: calls.append(1) or original(*args)  # noqa: E731
        monkeypatch.setattr(block, "_update", counted)
    results = {}
    for train in (False, True):
        calls.clear()
        model.train(train).zero_grad()
        out = render_all(model, images, split, cameras).images
        out.square().mean().backward()
        results[train] = [out, *(p.grad for p in model.parameters())]
        blocks = sum(isinstance(module, BaseBlock) for module in model.modules())
        assert len(calls) == blocks * (2 if train else 1)
    for a, b in zip(results[False], results[True], strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("kind", UNPOSED)
@pytest.mark.parametrize("train", [False, True])
def test_gradients_are_the_callers_choice(tiny_model, sample, kind, train):
    model = tiny_model(kind).train(train)
    images, split, _ = sample(5)
    with_gradient = model(images, split).images
    with torch.no_grad():
        without = model(images, split).images
    with torch.inference_mode():
        inference = model(images, split).images
    assert with_gradient.requires_grad
    assert not without.requires_grad
    assert torch.equal(with_gradient, without)
    assert torch.equal(with_gradient, inference)


@pytest.mark.parametrize("kind", UNPOSED)
def test_cameras_stay_float32_under_autocast(tiny_model, sample, kind):
    model = tiny_model(kind)
    images, split, _ = sample(5)
    exact = model(images, split)
    with torch.autocast("cpu", torch.bfloat16):
        half = model(images, split)
    assert half.cameras.world_from_camera.dtype == half.cameras.intrinsics.dtype == torch.float32
    assert half.images.dtype == torch.float32
    assert not torch.equal(half.images, exact.images)  # autocast is in use
    assert (half.images - exact.images).abs().max() < 0.1


@pytest.mark.parametrize("options", OPTIONS[:2], ids=str)
def test_camera_head_ignores_autocast(tiny_model, options):
    head = tiny_model(**options).camera_estimator.head
    tokens = torch.randn(2, 5, 32)
    outside = head(tokens)
    with torch.autocast("cpu", torch.bfloat16):
        inside = head(tokens)
    assert torch.equal(outside.world_from_camera, inside.world_from_camera)
    assert torch.equal(outside.intrinsics, inside.intrinsics)


def test_context_order_does_not_matter_to_lvsm(tiny_model, sample):
    images, split, cameras = sample(7)
    reordered = ViewSplit(split.context.flip(1), split.target)
    for kind in ("lvsm", "lvsm_decoder_only"):
        model = tiny_model(kind)
        close(model(images, split, cameras).images, model(images, reordered, cameras).images)


def test_row_column_and_reference_codes_differ_only_off_square(tiny_model, sample):
    ours, reference = tiny_model(), tiny_model(position_code="reference")
    for size, same in [((16, 16), True), ((16, 24), False)]:
        images, split, _ = sample(5, *size)
        assert torch.equal(ours(images, split).images, reference(images, split).images) == same


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        (torch.rand(2, 5, 3, 16, 20), "20x16 pixels"),
        (torch.rand(2, 5, 1, 16, 16), "[2, 5, 1, 16, 16]"),
        (torch.rand(5, 3, 16, 16), "[5, 3, 16, 16]"),
        (torch.zeros(2, 5, 3, 16, 16, dtype=torch.uint8), "uint8"),
    ],
    ids=["size", "channels", "dimensions", "integers"],
)
def test_unusable_pictures_are_refused(tiny_model, sample, bad, named):
    _, split, cameras = sample(5)
    for kind in KINDS:
        with pytest.raises(InputError) as error:
            render_all(tiny_model(kind), bad, split, cameras)
        assert named in str(error.value)


@pytest.mark.parametrize("kind", KINDS)
def test_as_many_cameras_as_pictures(tiny_model, sample, kind):
    images, _, cameras = sample(5)
    with pytest.raises(InputError, match=r"\[2, 5\] images need as many cameras, got \[2, 4\]"):
        tiny_model(kind).reconstruct(images, cameras[:, :4])


def test_a_camera_too_many_is_refused(tiny_model, sample):
    (images, split, _), (_, _, cameras) = sample(5), sample(6)
    with pytest.raises(InputError, match=r"\[2, 5\] images need as many cameras, got \[2, 6\]"):
        tiny_model("lvsm")(images, split, cameras)


@pytest.mark.parametrize("kind", KINDS)
def test_as_many_scenes_as_rows_of_cameras(tiny_model, sample, kind):
    model = tiny_model(kind)
    images, split, cameras = sample(4, 16, 16)
    scene = model.reconstruct(split.context_of(images), split.context_of(cameras))
    doubled = Cameras.cat([cameras, cameras])
    for wrong in (doubled, cameras[:1], cameras[0]):
        with pytest.raises(InputError, match=r"scenes are rendered from cameras \[2, t\]"):
            model.render(scene, wrong)


def test_positions_of_another_count_are_refused(tiny_model, sample):
    images, _, cameras = sample(5)
    with pytest.raises(InputError, match=r"positions .*\[2, 5\], got \[2, 4\]"):
        tiny_model().estimate_cameras(images, torch.zeros(2, 4))
    with pytest.raises(InputError, match=r"positions"):
        tiny_model().reconstruct(images, cameras, torch.zeros(3, 5))


@pytest.mark.parametrize("kind", KINDS)
def test_float64_cameras_are_welcome(tiny_model, sample, kind):
    images, split, cameras = sample(5)
    model = tiny_model(kind)
    results = []
    for given in (cameras, cameras.to(torch.float64)):
        scene = model.reconstruct(split.context_of(images), split.context_of(given))
        results.append(model.render(scene, split.target_of(given)))
    close(*results)


def test_configurations_are_frozen(tiny_config):
    with pytest.raises(dataclasses.FrozenInstanceError):
        tiny_config().width = 64


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"width": 40, "head_width": 16}, "model.width = 40"),
        ({"width": 36, "head_width": 12}, "multiple of 8"),
        ({"scene_tokens": 0}, "model.scene_tokens = 0"),
        ({"image_width": 20}, "model.image_width = 20"),
        ({"renderer_layers": -1}, "model.renderer_layers = -1"),
    ],
    ids=str,
)
def test_unbuildable_configurations_are_refused(tiny_config, changes, named):
    for kind in ("rayzer", "lvsm", *(["anyview"] if "scene_tokens" not in changes else [])):
        with pytest.raises(InputError) as error:
            tiny_config(kind, **changes)
        assert named in str(error.value)


def test_prediction_holds_cameras(tiny_model, sample):
    images, split, _ = sample(5)
    prediction = tiny_model()(images, split)
    assert isinstance(prediction.cameras, Cameras)
    assert prediction.images.shape == (2, 2, 3, 16, 16)
    assert prediction.cameras.shape == (2, 5)
