import warnings

import pytest
import torch

from rayzer.geometry import (
    align_cameras,
    align_points,
    invert_rigid,
    normalize_poses,
    pixel_rays,
    plucker_map,
    project,
    relative_pose_errors,
)
from rayzer.geometry.precision import outside_autocast
from rayzer.geometry.rotations import (
    look_rotation,
    quaternion_from_rotation,
    rotation_angle,
    rotation_from_6d,
    rotation_from_quaternion,
    rotation_from_vector,
)
from rayzer.geometry.trajectories import PRESETS, catmull_rom, focus_and_radius


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# Everything public that multiplies numbers: (cameras, other cameras) -> tensors or cameras
CASES = {
    "pixel_rays": lambda a, b: pixel_rays(a, 3, 4),
    "plucker_map": lambda a, b: plucker_map(a, 3, 4),
    "project": lambda a, b: project(a, random(5, 7, 3)),
    "rotation_from_6d": lambda a, b: rotation_from_6d(random(5, 6)),
    "rotation_from_quaternion": lambda a, b: rotation_from_quaternion(random(5, 4)),
    "rotation_from_vector": lambda a, b: rotation_from_vector(random(5, 3)),
    "quaternion_from_rotation": lambda a, b: quaternion_from_rotation(a.rotations),
    "rotation_angle": lambda a, b: rotation_angle(a.rotations),
    "look_rotation": lambda a, b: look_rotation(random(5, 3), random(5, 3, seed=1)),
    "align_points": lambda a, b: list(vars(align_points(a.centers, b.centers)).values()),
    "align_cameras": lambda a, b: list(vars(align_cameras(a, b)).values()),
    "relative_pose_errors": relative_pose_errors,
    "Similarity.points": lambda a, b: align_points(a.centers, b.centers).points(random(5, 3)),
    "Similarity.cameras": lambda a, b: align_points(a.centers, b.centers).cameras(a),
    "Cameras.transformed": lambda a, b: a.transformed(b.world_from_camera),
    "Cameras.camera_from_world": lambda a, b: a.camera_from_world,
    "Cameras.scaled": lambda a, b: a.scaled(1.7),
    "Cameras.cropped": lambda a, b: a.cropped(0.1, 0.2, 0.3, 0.4),
    "Cameras.intrinsics_px": lambda a, b: a.intrinsics_px(640, 480),
    "invert_rigid": lambda a, b: invert_rigid(a.world_from_camera),
    "normalize_poses": lambda a, b: normalize_poses(a.world_from_camera),
    "catmull_rom": lambda a, b: catmull_rom(torch.arange(5.0), a.centers, torch.linspace(0, 4, 7)),
    "focus_and_radius": lambda a, b: focus_and_radius(a),
    **{f"path {name}": lambda a, b, path=path: path(a, 9) for name, path in PRESETS.items()},
}


def tensors(result):
    if hasattr(result, "world_from_camera"):
        return [result.world_from_camera, result.intrinsics]
    return [result] if isinstance(result, torch.Tensor) else list(result)


@pytest.mark.parametrize("name", CASES)
def test_results_do_not_depend_on_autocast(random_cameras, name):
    cameras, others = (random_cameras(5, seed=seed, dtype=torch.float32) for seed in (0, 20))
    expected = tensors(CASES[name](cameras, others))
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype=dtype):
            found = tensors(CASES[name](cameras, others))
        for value, true in zip(found, expected, strict=True):
            assert value.dtype == torch.float32
            assert torch.equal(value, true)


def test_autocast_would_have_rounded_a_product():  # or the test above would be empty
    a, b = random(2, 4, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (a @ b).dtype == torch.bfloat16
        assert torch.einsum("ij, j -> i", a, b[0]).dtype == torch.bfloat16


def test_gradients_of_results_made_inside_autocast_are_in_full_precision(random_cameras):
    cameras = random_cameras(3, dtype=torch.float32)
    gradients = []
    for enabled in (False, True):
        cameras = cameras.map(lambda value: value.detach().clone().requires_grad_())
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            loss = plucker_map(cameras, 3, 3).square().sum()
        loss.backward()
        gradients.append((cameras.world_from_camera.grad, cameras.intrinsics.grad))
    assert torch.equal(gradients[0][0], gradients[1][0])
    assert torch.equal(gradients[0][1], gradients[1][1])


@pytest.mark.parametrize("device", ["cpu", "cuda", "mps"])
def test_the_decorator_turns_autocast_off_and_restores_it(device):
    if not torch.amp.is_autocast_available(device):
        pytest.skip(f"this build of torch has no autocast for {device}")

    @outside_autocast
    def inside():
        return torch.is_autocast_enabled(device)

    before = torch.is_autocast_enabled(device)
    torch.set_autocast_enabled(device, True)  # without the checks and warnings of `torch.autocast`
    try:
        assert inside() is False
        assert torch.is_autocast_enabled(device)
    finally:
        torch.set_autocast_enabled(device, before)


def test_the_decorator_restores_autocast_after_an_error():
    @outside_autocast
    def fail():
        raise KeyError("a")

    with torch.autocast("cpu"):
        with pytest.raises(KeyError):
            fail()
        assert torch.is_autocast_enabled("cpu")


def test_the_decorator_warns_of_nothing_whatever_the_machine(random_cameras):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plucker_map(random_cameras(), 2, 2)


def test_the_decorator_keeps_name_and_documentation():
    @outside_autocast
    def add(a: int, b: int = 2) -> int:
        """Add."""
        return a + b

    assert add.__name__ == "add"
    assert add.__doc__ == "Add."
    assert add(1) == 3
    assert add(a=1, b=5) == 6


def test_decorated_functions_compile_without_a_graph_break(random_cameras):
    cameras = random_cameras(3, dtype=torch.float32)

    @torch.compile(backend="eager", fullgraph=True)
    def rays(pose):
        return plucker_map(cameras[:2].transformed(pose), 2, 2)

    pose = cameras.world_from_camera[2]
    assert torch.equal(rays(pose), plucker_map(cameras[:2].transformed(pose), 2, 2))
