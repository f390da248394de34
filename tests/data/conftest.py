"""What tests of several formats share."""

import numpy as np
import pytest

from rayzer.data.exchange import cameras_from_frames


@pytest.fixture(scope="session")
def seen_at():
    """Where in a frame's picture our `Cameras` see a point of the world [3], in pixels [2]."""

    def project(frame, point) -> np.ndarray:
        cameras = cameras_from_frames([frame])
        x, y, z = (cameras.camera_from_world[0].numpy() @ [*point, 1.0])[:3]
        assert z > 0
        fx, fy, cx, cy = cameras.intrinsics_px(frame.width_px, frame.height_px)[0].tolist()
        return np.array([fx * x / z + cx, fy * y / z + cy])

    return project
