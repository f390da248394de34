"""Compiled blocks and fast inference against the model as it is."""

import copy
import pickle
from functools import partial

import pytest
import torch
from torch.testing import assert_close

from rayzer.model import acceleration
from rayzer.model.acceleration import FastInference, compile_blocks, set_recomputation
from rayzer.model.transformer import BaseBlock, Block
from rayzer.model.weights import load_model, save_model

KINDS = ["rayzer", "anyview", "lvsm", "lvsm_decoder_only"]


def step(model, images, split, *given):
    model.zero_grad()
    out = model(images, split, *given)
    (out.images.square().mean() + out.cameras.world_from_camera.square().mean()).backward()
    return [out.images, *(parameter.grad for parameter in model.parameters())]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["all", "selective", "none"])
@pytest.mark.parametrize("kind", ["rayzer", "anyview", "lvsm"])
def test_compiled_blocks_equal_eager_ones(tiny_model, sample, kind, mode):
    model = tiny_model(kind, renderer_layers=3).train()
    set_recomputation(model, mode)
    images, split, cameras = sample(5)
    given = () if model.estimates_cameras else (cameras,)
    plain = step(model, images, split, *given)
    names = list(model.state_dict())
    compile_blocks(model)
    for found, expected in zip(step(model, images, split, *given), plain, strict=True):
        assert_close(found, expected, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        assert_close(model.eval()(images, split, *given).images, plain[0], rtol=0, atol=1e-5)
    assert list(model.state_dict()) == names


@pytest.mark.slow
def test_blocks_compiled_for_any_views_equal_eager_ones(tiny_model, sample):
    model = tiny_model("anyview").train()
    eager = copy.deepcopy(model)
    compile_blocks(model, any_views=True)
    torch._dynamo.utils.counters.clear()
    for views in (4, 6, 9, 7):  # at least two of each kind: a single one has graphs of its own
        images, split, _ = sample(views)
        for found, expected in zip(step(model, images, split), step(eager, images, split), strict=True):
            assert_close(found, expected, rtol=1e-5, atol=1e-5)
        if views == 6:
            graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == graphs


@pytest.mark.slow
def test_compiled_bfloat16_is_as_near_to_float32_as_eager_bfloat16(tiny_model, sample):
    model = tiny_model()
    images, split, _ = sample(5)

    def picture(bf16):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            return model(images, split).images

    exact, eager = picture(False), picture(True)
    compile_blocks(model)
    assert (picture(True) - exact).abs().max() <= 1.5 * (eager - exact).abs().max()


@pytest.fixture
def marked(monkeypatch):
    """Stands in for the compiler, which takes long: remembers which blocks were run compiled."""
    ran = []
    monkeypatch.setattr(acceleration, "_compiled", lambda block, *x: ran.append((block, "plain")) or block.compute(*x))
    monkeypatch.setattr(
        acceleration, "_compiled_for_any_views", lambda block, *x: ran.append((block, "any")) or block.compute(*x)
    )
    monkeypatch.setattr(acceleration, "_tuned", lambda block, *x: ran.append((block, "tuned")) or block.compute(*x))
    monkeypatch.setattr(torch.nn.Module, "compile", lambda *_, **__: None)
    return ran


@pytest.mark.parametrize("any_views", [False, True])
def test_every_way_into_a_block_is_compiled(tiny_model, sample, marked, any_views):
    images, _, cameras = sample(5)
    for model in (tiny_model("anyview"), tiny_model(renderer="one_way")):
        marked.clear()
        compile_blocks(model, any_views=any_views)
        expected = list(model.renderer.transformer.blocks)
        scene = model.reconstruct(images, cameras)
        model.render(scene, cameras)
        ran = [block for block, _ in marked]
        assert all(ran.count(block) >= 2 for block in expected)
        assert {module for module in model.scene_encoder.modules() if isinstance(module, BaseBlock)} <= set(ran)


def test_every_block_is_compiled_and_inner_ones_of_the_renderer_are_tuned(tiny_model, sample, marked):
    model = tiny_model(scene_layers=3, renderer_layers=4)
    images, split, _ = sample(5)
    compile_blocks(model, tune=True)
    model(images, split)
    assert [block for block, _ in marked] == [module for module in model.modules() if isinstance(module, Block)]
    assert [how for _, how in marked] == [*5 * ["plain"], "plain", "tuned", "tuned", "plain"]


def test_copies_and_files_of_a_compiled_model(tiny_model, sample, marked, tmp_path):
    model = tiny_model()
    images, split, _ = sample(5)
    compile_blocks(model)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        next(twin.renderer.transformer.blocks[0].parameters()).mul_(2)
    assert (twin(images, split).images - model(images, split).images).abs().max() > 1e-4  # its own weights
    blocks = {block for block, _ in marked}
    assert len(blocks) == 12
    assert pickle.dumps(model)  # what a spawned process is given
    save_model(model, tmp_path / "model")
    assert torch.equal(load_model(tmp_path / "model")(images, split).images, model(images, split).images)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_fast_inference_on_a_cpu_is_the_model(tiny_model, sample, kind, dtype):
    model = tiny_model(kind)
    fast = FastInference(model.train(), dtype)
    model.eval()
    images, split, cameras = sample(5)
    given = () if model.estimates_cameras else (cameras,)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        expected = model(images, split, *given)
        scene = model.reconstruct(images, cameras)
        views = model.render(scene, cameras)
        if model.estimates_cameras:
            found = model.estimate_cameras(images, torch.arange(5))
    # Not bit for bit: how the weights of a copy lie in memory decides the order of some sums (seen with torch 2.10).
    close = partial(assert_close, rtol=0, atol=1e-6)
    close(fast(images, split, *given).images, expected.images)
    close(fast(images, split, *given).cameras.intrinsics, expected.cameras.intrinsics)
    close(fast.reconstruct(images, cameras).tokens, scene.tokens, atol=1e-5)
    close(fast.render(scene, cameras), views)
    if model.estimates_cameras:
        same = fast.estimate_cameras(images, torch.arange(5))
        close(same.world_from_camera, found.world_from_camera)


def test_fast_inference_leaves_the_model_alone(tiny_model):
    model = tiny_model().train()
    FastInference(model)
    assert model.training
    assert all(parameter.requires_grad and parameter.dtype == torch.float32 for parameter in model.parameters())


@pytest.mark.parametrize(("kind", "options"), [("rayzer", {}), ("anyview", {"patch_points": True})])
def test_stored_linears_are_what_autocast_would_make_of_them(tiny_model, sample, kind, options):
    model = tiny_model(kind, **options)
    images, split, _ = sample(5)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        before = model(images, split)
        acceleration._store_linears(model, torch.bfloat16)
        after = model(images, split)
    assert torch.equal(before.images, after.images)
    assert torch.equal(before.cameras.world_from_camera, after.cameras.world_from_camera)
    if options:
        assert torch.equal(before.points, after.points)
    assert {p.dtype for p in model.camera_estimator.head.parameters()} == {torch.float32}
    assert model.renderer.transformer.blocks[0].mlp[0].weight.dtype == torch.bfloat16


@pytest.mark.gpu
@pytest.mark.parametrize("kind", KINDS)
def test_graphs_equal_the_model(tiny_model, sample, kind):
    model = tiny_model(kind).cuda()
    images, split, cameras = sample(5)
    images, split, cameras = images.cuda(), split.to("cuda"), cameras.to("cuda")
    given = () if model.estimates_cameras else (cameras,)
    fast = FastInference(model, torch.float32, tune=False)
    for shift in (0, 1):  # the second call replays what the first recorded, on other pictures
        moved = images.roll(shift, 1)
        with torch.no_grad():
            expected = model(moved, split, *given)
            scene = model.reconstruct(moved, cameras)
            views = model.render(scene, cameras)
        assert_close(fast(moved, split, *given).images, expected.images, rtol=0, atol=1e-5)
        assert_close(fast.reconstruct(moved, cameras).tokens, scene.tokens, rtol=1e-4, atol=1e-4)
        assert_close(fast.render(scene, cameras), views, rtol=0, atol=1e-5)
    kept = fast.render(scene, cameras)
    fast.render(scene, cameras[:, [1, 0, 2, 3, 4]])
    assert_close(kept, views, rtol=0, atol=1e-5)  # results outlive the next call
