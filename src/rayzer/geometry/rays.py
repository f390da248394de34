"""Rays through pixel centres, always computed in float32 (or float64) outside autocast."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import normalize

from rayzer.geometry.cameras import Cameras
from rayzer.geometry.precision import as_multiplied, outside_autocast


def pixel_centers(height: int, width: int, like: Tensor) -> Tensor:
    """[h, w, 2] coordinates (x, y) of pixel centres as fractions of width and height."""
    x = (torch.arange(width, dtype=like.dtype, device=like.device) + 0.5) / width
    y = (torch.arange(height, dtype=like.dtype, device=like.device) + 0.5) / height
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)


@outside_autocast
def pixel_rays(cameras: Cameras, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Origins and unit directions in the world of the rays through all pixel centres.

    Args:
        cameras: [...].
        height, width: size of the picture in pixels.

    Returns:
        origins [..., h, w, 3] and directions [..., h, w, 3].
    """
    focal, center = cameras.intrinsics[..., None, None, :].split(2, -1)
    slopes = (pixel_centers(height, width, cameras.intrinsics) - center) / focal
    slopes, rotations = as_multiplied(slopes), as_multiplied(cameras.rotations)
    right, down, forward = rotations[..., None, None, :, :].unbind(-1)
    directions = as_multiplied(slopes[..., :1] * right + slopes[..., 1:] * down + forward)
    directions = as_multiplied(normalize(directions, dim=-1))
    return cameras.centers[..., None, None, :].expand_as(directions), directions


@outside_autocast
def unproject(cameras: Cameras, depth: Tensor) -> Tensor:
    """The points [..., h, w, 3] in the world that all pixel centres of pictures by cameras [...] show.

    Args:
        depth: [..., h, w] along the optical axes, in the unit of the poses.
    """
    height, width = depth.shape[-2:]
    focal, center = cameras.intrinsics[..., None, None, :].split(2, -1)
    slopes = (pixel_centers(height, width, cameras.intrinsics) - center) / focal
    points = torch.cat([slopes, torch.ones_like(slopes[..., :1])], -1) * depth[..., None]
    turned = torch.einsum("...ij,...hwj->...hwi", cameras.rotations, points)
    return turned + cameras.centers[..., None, None, :]


@outside_autocast
def plucker_map(cameras: Cameras, height: int, width: int) -> Tensor:
    """Pluecker coordinates `[origin x direction, direction]` of every pixel's ray, [..., 6, h, w].

    They name the ray and not the point it starts from (Sitzmann et al. 2021, "Light field networks").
    """
    origins, directions = pixel_rays(cameras, height, width)
    coordinates = torch.cat([torch.linalg.cross(origins, directions), directions], -1)
    return rearrange(coordinates, "... h w c -> ... c h w")


@outside_autocast
def project(cameras: Cameras, points: Tensor) -> Tensor:
    """Pixel coordinates of world points as fractions of width and height.

    Args:
        cameras: [...].
        points: [..., n, 3] in world coordinates.

    Returns:
        [..., n, 3]: x and y as fractions, and the depth along the optical axis in world units. Points behind the
        camera have a depth <= 0 and no meaningful x, y.
    """
    local = torch.einsum("...ij, ...nj -> ...ni", cameras.camera_from_world[..., :3, :3], points)
    local = local + cameras.camera_from_world[..., None, :3, 3]
    focal, center = cameras.intrinsics[..., None, :].split(2, -1)
    depth = local[..., 2:]
    return torch.cat([focal * local[..., :2] / depth + center, depth], -1)
