"""Cameras, rotations, rays, camera paths and alignment; conventions are in `cameras.py`."""

from rayzer.geometry import trajectories
from rayzer.geometry.alignment import Similarity, align_cameras, align_points, relative_pose_errors
from rayzer.geometry.cameras import Cameras, invert_rigid, normalize_poses, rigid
from rayzer.geometry.rays import pixel_rays, plucker_map, project, unproject

__all__ = [
    "Cameras",
    "Similarity",
    "align_cameras",
    "align_points",
    "invert_rigid",
    "normalize_poses",
    "pixel_rays",
    "plucker_map",
    "project",
    "relative_pose_errors",
    "rigid",
    "trajectories",
    "unproject",
]
