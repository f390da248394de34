"""Makers of random rotations and cameras that share no code with `rayzer.geometry.rotations`."""

import math

import pytest
import torch

from rayzer.geometry import Cameras


def generator(seed):
    return torch.Generator().manual_seed(seed)


def rotations(*shape, seed=0, dtype=torch.float64):
    q, r = torch.linalg.qr(torch.randn(*shape, 3, 3, generator=generator(seed), dtype=torch.float64))
    q = q * r.diagonal(dim1=-2, dim2=-1).sign()[..., None, :]
    return (q * torch.linalg.det(q)[..., None, None]).to(dtype)


def poses(*shape, seed=0, dtype=torch.float64):
    pose = torch.eye(4, dtype=torch.float64).repeat(*shape, 1, 1)
    pose[..., :3, :3] = rotations(*shape, seed=seed)
    pose[..., :3, 3] = torch.randn(*shape, 3, generator=generator(seed + 1), dtype=torch.float64)
    return pose.to(dtype)


def cameras(*shape, seed=0, dtype=torch.float64):
    random = torch.rand(*shape, 4, generator=generator(seed + 2), dtype=torch.float64)
    low, high = random.new_tensor([0.7, 0.7, 0.4, 0.4]), random.new_tensor([1.6, 1.6, 0.6, 0.6])
    return Cameras(poses(*shape, seed=seed, dtype=dtype), (low + random * (high - low)).to(dtype))


def arc(count=5, degrees=60.0, radius=2.0, dtype=torch.float64):
    """Cameras on a level arc about the origin, all looking at it; the middle one is at (0, 0, -radius)."""
    pose = torch.eye(4, dtype=dtype).repeat(count, 1, 1)
    for view in range(count):
        angle = math.radians(degrees) * (view / max(count - 1, 1) - 0.5) if count > 1 else 0.0
        sine, cosine = math.sin(angle), math.cos(angle)
        turn = [[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]]
        pose[view, :3, :3] = torch.tensor(turn, dtype=dtype)
        pose[view, :3, 3] = torch.tensor([-radius * sine, 0, -radius * cosine], dtype=dtype)
    return Cameras(pose, torch.tensor([1.2, 1.2, 0.5, 0.5], dtype=dtype).expand(count, 4))


@pytest.fixture(scope="session")
def random_rotations():
    return rotations


@pytest.fixture(scope="session")
def random_poses():
    return poses


@pytest.fixture(scope="session")
def random_cameras():
    return cameras


@pytest.fixture(scope="session")
def arc_cameras():
    return arc
