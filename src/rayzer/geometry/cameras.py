"""Cameras: the only place that knows the camera convention.

OpenCV axes (x right, y down, z forward), poses as `world_from_camera` (a point in camera coordinates
times this matrix is the point in world coordinates), intrinsics as fractions of the image size, pixel
centres at +0.5. Only importers and exporters know any other convention.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Cameras:
    """Pinhole cameras of any leading (batch) shape `...`.

    Attributes:
        world_from_camera: [..., 4, 4] rigid transforms from camera to world coordinates, OpenCV axes.
        intrinsics: [..., 4] `fx, fy, cx, cy` as fractions of image width, height, width, height: a
            picture of any size taken by the same camera has the same intrinsics.

    Raises:
        ValueError: if the shapes do not agree or the values are not floating point of at least 32 bits.
    """

    world_from_camera: Tensor
    intrinsics: Tensor

    def __post_init__(self) -> None:
        pose, intrinsics = self.world_from_camera, self.intrinsics
        if pose.shape[-2:] != (4, 4) or intrinsics.shape[-1:] != (4,) or pose.shape[:-2] != intrinsics.shape[:-1]:
            raise ValueError(
                "Cameras need world_from_camera [..., 4, 4] and intrinsics [..., 4] of one batch shape, "
                f"got {list(pose.shape)} and {list(intrinsics.shape)}"
            )
        for name, value in (("world_from_camera", pose), ("intrinsics", intrinsics)):
            if value.dtype not in (torch.float32, torch.float64):
                raise ValueError(f"Cameras are float32 or float64 (half precision bends rays), {name} is {value.dtype}")

    @staticmethod
    def from_pixels(world_from_camera: Tensor, fxfycxcy_px: Tensor, width_px: int, height_px: int) -> Cameras:
        """Cameras from intrinsics `fx, fy, cx, cy` [..., 4] in pixels of a `width_px` x `height_px` picture."""
        return Cameras(world_from_camera, fxfycxcy_px / _size(fxfycxcy_px, width_px, height_px))

    def intrinsics_px(self, width_px: int, height_px: int) -> Tensor:
        """Intrinsics `fx, fy, cx, cy` [..., 4] in pixels of a `width_px` x `height_px` picture."""
        return self.intrinsics * _size(self.intrinsics, width_px, height_px)

    @property
    def shape(self) -> torch.Size:
        """The leading (batch) shape."""
        return self.intrinsics.shape[:-1]

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def camera_from_world(self) -> Tensor:
        """[..., 4, 4] world to camera ("extrinsics"): the rigid inverse of `world_from_camera`."""
        return invert_rigid(self.world_from_camera)

    @property
    def rotations(self) -> Tensor:
        """[..., 3, 3] rotation parts of `world_from_camera`; columns are the camera's axes in the world."""
        return self.world_from_camera[..., :3, :3]

    @property
    def centers(self) -> Tensor:
        """[..., 3] camera centres in world coordinates."""
        return self.world_from_camera[..., :3, 3]

    def map(self, function: Callable[[Tensor], Tensor]) -> Cameras:
        """Apply one function of the leading dimensions to both tensors (index, reshape, move, cast)."""
        return Cameras(function(self.world_from_camera), function(self.intrinsics))

    def __getitem__(self, index) -> Cameras:
        return self.map(lambda value: value[index])

    def to(self, *args, **kwargs) -> Cameras:
        """Like `Tensor.to`."""
        return self.map(lambda value: value.to(*args, **kwargs))

    def detach(self) -> Cameras:
        """The same cameras without gradient history."""
        return self.map(Tensor.detach)

    def transformed(self, new_from_world: Tensor) -> Cameras:
        """The same cameras seen from another world frame; `new_from_world` is [..., 4, 4]."""
        return Cameras(new_from_world @ self.world_from_camera, self.intrinsics)

    def scaled(self, factor: Tensor | float) -> Cameras:
        """The same cameras in a world `factor` times as large (centres move, axes stay)."""
        pose = self.world_from_camera.clone()
        pose[..., :3, 3] *= factor
        return Cameras(pose, self.intrinsics)

    def cropped(self, left: float, top: float, width: float, height: float) -> Cameras:
        """Cameras of the window of the picture given as fractions of its width and height."""
        offset = self.intrinsics.new_tensor([0.0, 0.0, left, top])
        return Cameras(
            self.world_from_camera,
            (self.intrinsics - offset) / self.intrinsics.new_tensor([width, height, width, height]),
        )

    @staticmethod
    def cat(parts: list[Cameras], dim: int = 0) -> Cameras:
        """Concatenate along one (non-negative) leading dimension."""
        return Cameras(
            torch.cat([part.world_from_camera for part in parts], dim),
            torch.cat([part.intrinsics for part in parts], dim),
        )


def invert_rigid(transform: Tensor) -> Tensor:
    """Inverse of rigid transforms [..., 4, 4], exact for rotations: `[R t]^-1 = [R^T  -R^T t]`."""
    rotation = transform[..., :3, :3].mT
    translation = -rotation @ transform[..., :3, 3:]
    return torch.cat([torch.cat([rotation, translation], -1), transform[..., 3:, :]], -2)


def rigid(rotation: Tensor, translation: Tensor) -> Tensor:
    """[..., 4, 4] from rotation [..., 3, 3] and translation [..., 3]."""
    top = torch.cat([rotation, translation[..., None]], -1)
    bottom = top.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(*top.shape[:-2], 1, 4)
    return torch.cat([top, bottom], -2)


def normalize_poses(world_from_camera: Tensor, scale: float = 1.35) -> Tensor:
    """Move the mean camera to the identity and fit all centres into a cube of half side `1 / scale`.

    The mean camera has the mean centre; its z is the unit mean forward axis, its x the unit cross product
    of the (unnormalised) mean down axis and z, its y = z x x. Used by LVSM (SPEC section 3, LVSM data code).

    Args:
        world_from_camera: [..., v, 4, 4]; the mean and the maximum run over the `v` views of a sample.
        scale: the largest absolute coordinate becomes `1 / scale`.

    Returns:
        [..., v, 4, 4] normalised poses.

    Raises:
        ValueError: if the mean axes are degenerate (cameras looking in opposite directions).
    """
    mean = world_from_camera.mean(-3)
    forward = torch.nn.functional.normalize(mean[..., :3, 2], dim=-1)
    right = torch.nn.functional.normalize(torch.linalg.cross(mean[..., :3, 1], forward), dim=-1)
    down = torch.nn.functional.normalize(torch.linalg.cross(forward, right), dim=-1)
    world_from_mean = rigid(torch.stack([right, down, forward], -1), mean[..., :3, 3])
    if (right.norm(dim=-1) < 0.5).any() or (forward.norm(dim=-1) < 0.5).any():
        raise ValueError("the cameras look in opposite directions: they have no mean camera to normalise to")
    poses = torch.linalg.inv(world_from_mean)[..., None, :, :] @ world_from_camera
    extent = poses[..., :3, 3].abs().amax((-1, -2))
    extent = torch.where(extent > 0, extent, torch.ones_like(extent))  # a purely turning camera has no scale
    poses = poses.clone()
    poses[..., :3, 3] /= scale * extent[..., None, None]
    return poses


def _size(like: Tensor, width_px: int, height_px: int) -> Tensor:
    return like.new_tensor([width_px, height_px, width_px, height_px])
