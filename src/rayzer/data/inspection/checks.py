"""All checks. A check is a function of the evidence, and one entry here; its key is its name in every report."""

from __future__ import annotations

from collections.abc import Callable

from rayzer.data.inspection import camera_checks as cameras
from rayzer.data.inspection import picture_checks as pictures
from rayzer.data.inspection.evidence import Evidence, Problem

Check = Callable[[Evidence], Problem | None]

CHECKS: dict[str, Check] = {
    "too_few_pictures": pictures.too_few_pictures,
    "missing_pictures": pictures.missing_pictures,
    "damaged_pictures": pictures.damaged_pictures,
    "wrong_sizes": pictures.wrong_sizes,
    "missing_poses": cameras.missing_poses,
    "standing_still": cameras.standing_still,
    "far_out": cameras.far_out,
    "jumps": cameras.jumps,
    "missing_intrinsics": cameras.missing_intrinsics,
    "intrinsics_of_another_size": cameras.intrinsics_of_another_size,
    "field_of_view": cameras.field_of_view,
    "principal_point": cameras.principal_point,
    "pixel_aspect": cameras.pixel_aspect,
    "names_out_of_order": pictures.names_out_of_order,
    "times_out_of_order": pictures.times_out_of_order,
    "exposures_out_of_order": pictures.exposures_out_of_order,
    "repeated_names": pictures.repeated_names,
    "repeated_pictures": pictures.repeated_pictures,
    "mixed_orientations": pictures.mixed_orientations,
    "fewer_than_wanted": pictures.fewer_than_wanted,
    "uncounted_frames": pictures.uncounted_frames,
    "mixed_sizes": pictures.mixed_sizes,
    "blurred_pictures": pictures.blurred_pictures,
    "distortion": cameras.distortion,
    "reader_notes": pictures.reader_notes,
}
"""Every check gives at most one problem; they are told in this order."""
