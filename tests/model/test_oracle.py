"""Every recorded number of the reference implementation."""

import pytest
import torch
from torch.testing import assert_close

import rayzer
from rayzer.model.reference_names import reference_name_of


def loss_of(recording):
    return (recording.run().images - recording.targets).square().mean()


@pytest.mark.parametrize("train", [False, True])
def test_pictures_and_loss(recording, train):
    recording.model.train(train)
    prediction = recording.run()
    assert_close(prediction.images, recording.tensors["render"], rtol=0, atol=2e-6)
    loss = (prediction.images - recording.targets).square().mean()
    assert_close(loss, recording.tensors["l2_loss"][0], rtol=1e-5, atol=0)


def test_cameras(rayzer_recording):
    cameras = rayzer_recording.run().cameras
    assert_close(cameras.world_from_camera, rayzer_recording.cameras.world_from_camera, rtol=0, atol=2e-6)
    assert_close(cameras.intrinsics, rayzer_recording.cameras.intrinsics, rtol=0, atol=2e-6)


def test_lvsm_returns_the_given_cameras(recording):
    if recording.name.startswith("lvsm"):
        assert recording.run().cameras is recording.cameras


def test_targets_are_the_recorded_ones(recording):
    if recording.name.startswith("lvsm"):
        assert torch.equal(recording.targets, recording.tensors["target_image"])


@pytest.mark.parametrize("train", [False, True])
def test_gradient_norm_of_every_parameter(rayzer_recording, train):
    model, expected = rayzer_recording.model.train(train), rayzer_recording.gradient_norms()
    loss_of(rayzer_recording).backward()
    found = {reference_name_of(name, model): p.grad.norm().item() for name, p in model.named_parameters()}
    assert found.keys() == expected.keys()
    for name, norm in expected.items():
        assert found[name] == pytest.approx(norm, rel=1e-5), name


@pytest.mark.parametrize("train", [False, True])
def test_gradients_of_lvsm_reach_every_parameter(recording, train):
    recording.model.train(train)
    loss_of(recording).backward()
    assert all(p.grad.abs().max() > 0 for p in recording.model.parameters())


def test_recorded_options_are_all_in_use(recordings_folder):
    configs = [rayzer.load_model(p, p.with_suffix(".yaml")).config for p in recordings_folder.glob("rayzer*.pt")]
    assert {c.canonical for c in configs} == {"middle", "first"}
    assert {c.rotation for c in configs} == {"6d", "quaternion"}
    assert {c.qk_norm for c in configs} == {True, False}
    assert {c.image_height == c.image_width for c in configs} == {True, False}
