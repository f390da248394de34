"""Every check on a tiny scene that has its fault, and on one that barely has not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rayzer.data.inspection.checks import CHECKS
from rayzer.data.inspection.evidence import ANYTHING, Evidence, Picture, Recipe, look_at
from rayzer.data.scenes import Frame, Scene

RECIPE = Recipe("some_recipe", frames_needed=6, frames_wanted=8)
INTRINSICS = (80.0, 80.0, 50.0, 30.0)


def pose(x, turn=0.0):
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    matrix[0, 3] = x
    return matrix


def picture(digest, sharpness=100.0, size=(100, 60), taken=None):
    return Picture(*size, str(digest).encode(), sharpness, taken)


def frame(number):
    return Frame(f"{number}.png", Path(f"{number}.png"), 100, 60, INTRINSICS, (), pose(0.1 * number))


def healthy(count=8):
    """Evenly spaced cameras, different pictures, nothing wrong."""
    frames = tuple(frame(number) for number in range(count))
    pictures = {number: picture(number) for number in range(count)}
    return Evidence(Scene("s", frames, Path("s")), "rayzer", pictures, {}, {}, ANYTHING)


def with_frames(changes, evidence=None):
    """The healthy scene with some frames changed: {position: {field: value}}."""
    evidence = evidence or healthy()
    frames = [replace(old, **changes.get(number, {})) for number, old in enumerate(evidence.frames)]
    return replace(evidence, scene=replace(evidence.scene, frames=tuple(frames)))


def every(**values):
    return with_frames(dict.fromkeys(range(8), values))


def with_pictures(changes):
    evidence = healthy()
    return replace(evidence, pictures={**evidence.pictures, **changes})


def with_poses(poses):
    return with_frames({number: {"world_from_camera": value} for number, value in enumerate(poses)})


def moved(number, x):
    return with_frames({number: {"world_from_camera": pose(x)}})


def with_notes(*notes, **values):
    return replace(healthy(), scene=replace(healthy().scene, notes=notes, **values))


def resized(picture_size):
    return with_pictures({number: picture(number, size=picture_size) for number in range(8)})


NOT_RIGID = np.diag([1.0, 2.0, 1.0, 1.0])
HERE = Path(__file__)

# name: (has the fault, nearly has it)
CASES = {
    "too_few_pictures": (
        replace(healthy(5), recipe=RECIPE),
        replace(healthy(6), recipe=RECIPE),
    ),
    "fewer_than_wanted": (
        replace(healthy(7), recipe=RECIPE),
        replace(healthy(8), recipe=RECIPE),
    ),
    "uncounted_frames": (
        replace(healthy(24), format="video", recipe=replace(RECIPE, frames_wanted=25)),
        replace(healthy(24), format="video", recipe=replace(RECIPE, frames_wanted=24)),
    ),
    "missing_pictures": (with_frames({3: {"image": None}}), healthy()),
    "damaged_pictures": (replace(healthy(), faults={3: "3.png: is damaged"}), healthy()),
    "wrong_sizes": (with_frames({3: {"width_px": 200, "height_px": 120}}), healthy()),
    "missing_poses": (
        with_frames({3: {"world_from_camera": None}}),
        with_frames({3: {"world_from_camera": None, "image": None}}),
    ),
    "missing_intrinsics": (with_frames({3: {"fxfycxcy_px": None}}), every(fxfycxcy_px=None, world_from_camera=None)),
    "standing_still": (with_poses([np.eye(4)] * 8), with_poses([pose(1e-4 * number) for number in range(8)])),
    "far_out": (moved(7, 1e4), moved(7, 50.0)),
    "jumps": (moved(7, 2.0), moved(7, 1.5)),
    "intrinsics_of_another_size": (
        every(fxfycxcy_px=(320.0, 320.0, 200.0, 120.0)),
        every(fxfycxcy_px=(80.0, 80.0, 58.0, 35.0)),
    ),
    "field_of_view": (every(fxfycxcy_px=(0.8, 0.8, 0.5, 0.9)), every(fxfycxcy_px=(20.0, 20.0, 50.0, 30.0))),
    "principal_point": (every(fxfycxcy_px=(80.0, 80.0, 70.0, 30.0)), every(fxfycxcy_px=(80.0, 80.0, 60.0, 30.0))),
    "pixel_aspect": (every(fxfycxcy_px=(80.0, 45.0, 50.0, 30.0)), every(fxfycxcy_px=(80.0, 72.0, 50.0, 30.0))),
    "names_out_of_order": (
        with_frames({0: {"name": "10.png"}, 1: {"name": "2.png"}}),
        with_frames({6: {"name": "9.png"}, 7: {"name": "10.png"}}),
    ),
    "times_out_of_order": (
        with_frames({number: {"time_s": time} for number, time in enumerate([0, 1, 3, 2, 4, 5, 6, 7])}),
        with_frames({number: {"time_s": time} for number, time in enumerate([0, 1, 1, 2, 4, 5, 6, 7])}),
    ),
    "exposures_out_of_order": (
        with_pictures({1: picture(1, taken="2024:05:06 07:08:09"), 5: picture(5, taken="2024:05:06 07:08:08")}),
        with_pictures({1: picture(1, taken="2024:05:06 07:08:09"), 5: picture(5, taken="2024:05:06 07:08:09")}),
    ),
    "repeated_names": (with_frames({4: {"name": "3.png"}}), healthy()),
    "repeated_pictures": (with_pictures({4: picture(3)}), with_pictures({5: picture(3)})),
    "mixed_orientations": (
        with_frames({3: {"width_px": 60, "height_px": 100}}, replace(healthy(), pictures={})),
        with_frames({3: {"width_px": 60, "height_px": 60}}, replace(healthy(), pictures={})),
    ),
    "mixed_sizes": (with_pictures({3: picture(3, size=(50, 30))}), resized((50, 30))),
    "blurred_pictures": (with_pictures({3: picture(3, sharpness=10)}), with_pictures({3: picture(3, sharpness=40)})),
    "distortion": (every(distortion=(0.1, 0.0, 0.0, 0.0)), every(distortion=(0.0, 0.0, 0.0, 0.0))),
    "reader_notes": (with_notes("High dynamic range."), with_notes("The photos differ in size; ...")),
}


def found(evidence):
    problems = {name: check(evidence) for name, check in CHECKS.items()}
    return {name: problem for name, problem in problems.items() if problem}


def test_nothing_is_found_in_a_healthy_scene():
    assert found(healthy()) == {}


def test_every_check_has_its_case():
    assert CASES.keys() == CHECKS.keys()


@pytest.mark.parametrize("name", CHECKS)
def test_what_it_finds(name):
    problem = CHECKS[name](CASES[name][0])
    assert problem is not None
    assert "\n" not in problem.message
    assert (problem.severity == "error") == (problem.prevents != "")


@pytest.mark.parametrize("name", CHECKS)
def test_what_it_lets_pass(name):
    assert CHECKS[name](CASES[name][1]) is None


@pytest.mark.parametrize(
    "name", sorted(CHECKS.keys() - {"wrong_sizes", "mixed_sizes", "names_out_of_order", "mixed_orientations"})
)
def test_one_fault_is_told_once(name):
    assert found(CASES[name][0]).keys() == {name}


def test_no_cameras_at_all_are_no_fault():
    assert found(every(fxfycxcy_px=None, world_from_camera=None)) == {}


@pytest.mark.parametrize("broken", [np.full((4, 4), np.nan), NOT_RIGID, np.diag([-1.0, 1, 1, 1])])
def test_broken_poses_prevent_a_use_with_poses(broken):
    problem = found(with_frames({3: {"world_from_camera": broken}}))["missing_poses"]
    assert (problem.prevents, problem.frames) == ("poses", ("3.png",))


def test_what_a_reader_refused_is_told_in_its_words():
    evidence = with_frames({3: {"world_from_camera": None}})
    problem = found(replace(evidence, reported={"pose": ["scene.json: frame 3: not rigid"]}))["missing_poses"]
    assert problem.message == "no usable pose for 1 frame; the first: scene.json: frame 3: not rigid"


def test_a_camera_that_only_turns_is_a_warning():
    (problem,) = found(with_poses([pose(0.0, turn=0.1 * number) for number in range(8)])).values()
    assert problem.severity == "warning"


def test_one_wrong_lens_does_not_condemn_the_scene():
    (problem,) = found(with_frames({3: {"fxfycxcy_px": (1.0, 1.0, 50.0, 30.0)}})).values()
    assert (problem.severity, problem.frames) == ("warning", ("3.png",))


def test_intrinsics_of_full_resolution_are_named_with_their_factor():
    evidence = every(fxfycxcy_px=(320.0, 320.0, 200.0, 120.0))
    assert "about 400x240, not 100x60 pixels; multiply fx, fy, cx, cy by 0.25" in (
        found(evidence)["intrinsics_of_another_size"].message
    )


def test_intrinsics_are_judged_by_the_picture_that_is_there():
    assert found(resized((50, 30))).keys() == {"too_few_pictures", "wrong_sizes", "intrinsics_of_another_size"}


def test_a_far_out_camera_is_no_jump_too():
    assert "jumps" not in found(moved(3, 1e4))


def test_missing_frames_make_no_jump():
    gone = {number: {"world_from_camera": None} for number in range(2, 18)}
    assert "jumps" not in found(with_frames(gone, healthy(20)))


def test_files_set_aside_are_damaged_only_if_they_exist():
    aside = ((HERE, "x: is damaged"), (HERE.with_name("nothing"), "y: there is no such picture"))
    problem = found(with_notes(skipped=aside))["damaged_pictures"]
    assert problem.frames == (HERE.name,)


def test_damaged_pictures_are_not_usable():
    evidence = replace(healthy(), faults=dict.fromkeys(range(7), "damaged"), pictures={7: picture(7)})
    problem = found(evidence)["too_few_pictures"]
    assert problem.message == "only 1 frame has a usable picture, a sample needs 2; mend those that are broken"
    assert problem.prevents == "everything"


def test_looking_at_pictures():
    noise = np.random.default_rng(0).integers(0, 255, (60, 100, 3), dtype=np.uint8)
    smooth = np.repeat(np.linspace(0, 255, 100, dtype=np.uint8)[None, :, None], 60, 0).repeat(3, 2)
    seen = [look_at(Frame("f", pixels, 100, 60)) for pixels in (noise, noise.copy(), smooth)]
    assert seen[0] == seen[1]
    assert seen[2].digest != seen[0].digest
    assert seen[2].sharpness < 10 < 1000 < seen[0].sharpness
    assert (seen[0].width_px, seen[0].height_px, seen[0].taken) == (100, 60, None)


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 400, 3), (1000, 600, 3)])
def test_pictures_of_any_size(shape):
    assert look_at(Frame("f", np.zeros(shape, np.uint8), shape[1], shape[0])).sharpness == 0
