"""Cameras: the only place that knows the camera convention.

OpenCV axes (x right, y down, z forward), poses as `world_from_camera` (a point in camera coordinates
times this matrix is the point in world coordinates), intrinsics as fractions of the image size, pixel
centres at +0.5. Only importers and exporters know any other convention.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from rayzer.geometry.precision import outside_autocast, rounding


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

    def __iter__(self) -> Iterator[Cameras]:
        return (self[index] for index in range(len(self)))

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
        """The cameras at an index of the leading dimensions; any index that a tensor of `shape` takes."""
        index = index if isinstance(index, tuple) else (index,)
        if not any(part is Ellipsis for part in index):
            index = (*index, Ellipsis)
        every = slice(None)  # spelled out, so that no index can reach into the 4 x 4 of a pose
        return Cameras(self.world_from_camera[(*index, every, every)], self.intrinsics[(*index, every)])

    def to(self, *args, **kwargs) -> Cameras:
        """Like `Tensor.to`."""
        return self.map(lambda value: value.to(*args, **kwargs))

    def detach(self) -> Cameras:
        """The same cameras without gradient history."""
        return self.map(Tensor.detach)

    @outside_autocast
    def transformed(self, new_from_world: Tensor) -> Cameras:
        """The same cameras seen from another world frame; `new_from_world` is [..., 4, 4]."""
        return Cameras(new_from_world @ self.world_from_camera, self.intrinsics)

    def scaled(self, factor: Tensor | float) -> Cameras:
        """The same cameras in a world `factor` times as large (centres move, axes stay).

        A tensor holds one factor per camera, of a shape that broadcasts to that of the cameras.
        """
        factors = torch.as_tensor(factor, dtype=self.intrinsics.dtype, device=self.intrinsics.device)
        return Cameras(rigid(self.rotations, self.centers * factors[..., None]), self.intrinsics)

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


@outside_autocast
def invert_rigid(transform: Tensor) -> Tensor:
    """Inverse of rigid transforms [..., 4, 4], exact for rotations: `[R t]^-1 = [R^T  -R^T t]`."""
    rotation = transform[..., :3, :3].mT
    translation = -rotation @ transform[..., :3, 3:]
    return torch.cat([torch.cat([rotation, translation], -1), transform[..., 3:, :]], -2)


def rigid(rotation: Tensor, translation: Tensor) -> Tensor:
    """[..., 4, 4] from rotation [..., 3, 3] and translation [..., 3]."""
    top = torch.cat([rotation, translation[..., None]], -1)
    bottom = torch.eye(4, dtype=top.dtype, device=top.device)[3:].expand(*top.shape[:-2], 1, 4)
    return torch.cat([top, bottom], -2)


@outside_autocast
def normalize_poses(world_from_camera: Tensor, scale: float = 1.35) -> Tensor:
    """Move the mean camera to the identity and fit all centres into a cube of half side `1 / scale`.

    The mean camera has the mean centre; its z is the unit mean forward axis, its x the unit cross product
    of the (unnormalised) mean down axis and z, its y = z x x. What LVSM
    was trained with (arXiv 2410.17242 and its data code).

    Args:
        world_from_camera: [..., v, 4, 4]; the mean and the maximum run over the `v` views of a sample.
        scale: the largest absolute coordinate becomes `1 / scale`.

    Returns:
        [..., v, 4, 4] normalised poses. Cameras that all stand in one point come to stand in the origin.

    Raises:
        ValueError: if the mean axes are degenerate (cameras looking in opposite directions).
    """
    mean = world_from_camera.mean(-3)
    forward, forward_length = _unit(mean[..., :3, 2])
    right, right_length = _unit(torch.linalg.cross(mean[..., :3, 1], forward))
    if torch.minimum(forward_length, right_length).min() < 32 * torch.finfo(mean.dtype).eps:
        raise ValueError("the cameras look in opposite directions: they have no mean camera to normalise to")
    down, _ = _unit(torch.linalg.cross(forward, right))
    mean_from_world = invert_rigid(rigid(torch.stack([right, down, forward], -1), mean[..., :3, 3]))
    poses = mean_from_world[..., None, :, :] @ world_from_camera
    extent = poses[..., :3, 3].abs().amax((-1, -2))
    moved = extent > rounding(world_from_camera[..., :3, 3], (-1, -2))
    extent = torch.where(moved, extent, torch.ones_like(extent))  # cameras that only turn have no scale
    return rigid(poses[..., :3, :3], poses[..., :3, 3] / (scale * extent[..., None, None]))


def _unit(vector: Tensor) -> tuple[Tensor, Tensor]:
    """Unit vectors and the lengths they had."""
    return torch.nn.functional.normalize(vector, dim=-1), vector.norm(dim=-1)


def _size(like: Tensor, width_px: int, height_px: int) -> Tensor:
    return like.new_tensor([width_px, height_px, width_px, height_px])
