"""Every branch of the verdict, and that no sentence speaks of what was not measured."""

import itertools

import pytest

from rayzer.evaluation.poses import PoseScores
from rayzer.evaluation.verdict import verdict


def poses(rpa=0.93, ate=0.04, **more):
    return {"rpa": {"5": 0.0, "15": rpa, "30": 1.0}, "ate": ate, **more}


SUMMARY = {"psnr": 25.59, "ssim": 0.8, "lpips": None, "scenes": 140, "views": 1120}
CONTROLS = {"copy_nearest": {"psnr": 18.4}}
NO_LEAK = {"psnr": 21.2, "note": "..."}
EXACT = {"pairs": 3, "psnr": 24.5, "own": {"psnr": 24.9}}
AGAIN = {"pairs": 3, "rpa": {"15": 0.22}}
PROBE = {"train_scenes": 60, "test_scenes": 20, "iterations": 10000, **poses(0.83)}


@pytest.mark.parametrize(
    ("rpa", "ate", "cameras", "start"),
    [
        (0.93, 0.04, "are", "The cameras of this checkpoint are geometric: 93.0 % of the pairs"),
        (0.8, 0.1, "are", "The cameras of this checkpoint are geometric: 80.0 % of the pairs"),
        (0.79, 0.04, "are not", "The cameras of this checkpoint are only partly geometric, which counts as not"),
        (0.93, 0.11, "are not", "The cameras of this checkpoint are only partly geometric, which counts as not"),
        (0.5, None, "are not", "The cameras of this checkpoint are only partly geometric, which counts as not"),
        (0.49, 0.04, "are not", "The cameras of this checkpoint are not geometric: 49.0 % of the pairs"),
        (0.0, 0.9, "are not", "The cameras of this checkpoint are not geometric: 0.0 % of the pairs"),
        (0.93, None, "unknown", "Whether the cameras of this checkpoint are geometric is unknown: 93.0 % of the pairs"),
    ],
)
def test_the_rule(rpa, ate, cameras, start):
    found = verdict(SUMMARY, poses=poses(rpa, ate))
    assert found["cameras"] == cameras
    assert found["text"].startswith(start)
    assert "at least 80 % of the pairs, at most 10 %" in found["text"]


@pytest.mark.parametrize(
    ("auc", "line", "cameras", "words"),
    [
        (0.8, poses(0.4, 0.2, auc={"20": 0.5}), "are", "are geometric"),
        (0.75, poses(0.9, 0.02, auc={"20": 0.5}), "are", "are geometric"),
        (0.7, poses(0.9, 0.02, auc={"20": 0.5}), "unknown", "paths are so mild"),
        (0.7, poses(0.7, 0.02, auc={"20": 0.5}), "are not", "only partly geometric"),
    ],
)
def test_a_straight_line_must_be_beaten_clearly(auc, line, cameras, words):
    found = verdict(SUMMARY, poses=poses(auc={"20": auc}, straight_line=line))
    assert found["cameras"] == cameras
    assert words in found["text"]


def test_the_figures_that_decided_are_said():
    text = verdict(SUMMARY, poses=poses(scenes=12))["text"]
    assert "93.0 % of the pairs of views in 12 scenes agree with the true cameras within 15 degrees" in text
    assert "positions are off by 4.0 % of the size of the path" in text
    without = verdict(SUMMARY, poses=poses(ate=None, scenes=1))["text"]
    assert "in 1 scene agree" in without
    assert "how far the camera positions are off could not be measured" in without


def test_it_reads_what_pose_scores_write():
    shares = {5: 0.0, 15: 0.9, 30: 1.0}
    scores = PoseScores(shares, shares, shares, {5: 0, 20: 0.8, 30: 0.9}, 0.05, 0.1, 3.0, 4.0)
    assert verdict(None, poses=scores.as_json())["cameras"] == "are"


@pytest.mark.parametrize(
    ("copy", "words"),
    [
        (18.4, "The pictures are 7.2 dB better than a copy of the nearest photo: PSNR 25.6 against 18.4 dB"),
        (25.6, "The pictures are as good as a copy of the nearest photo"),
        (27.0, "The pictures are 1.4 dB worse than a copy of the nearest photo"),
    ],
)
def test_pictures_against_the_nearest_photo(copy, words):
    assert words in verdict(SUMMARY, controls={"copy_nearest": {"psnr": copy}})["text"]


def test_what_the_photo_that_is_drawn_gives_away():
    text = verdict(SUMMARY, controls=CONTROLS, no_leak=NO_LEAK)["text"]
    assert "without that photo, the pictures lose 4.4 dB" in text
    assert "guessed camera is less exact): 21.2 dB, 2.8 dB better than the copy." in text
    assert verdict(SUMMARY, no_leak=NO_LEAK)["text"].count("copy") == 1  # that it was not measured
    assert "the pictures lose nothing: 25.6 dB." in verdict(SUMMARY, no_leak={"psnr": 25.6})["text"]


def test_cameras_of_another_scene():
    can, cannot = "Cameras of one scene can be used in another: ", "Cameras of one scene cannot be used in another: "

    def text(exact=None, again=None):
        return verdict(None, transfer={"exact": exact, "re_estimated": again})["text"]

    assert can + "with the cameras of another scene" in text(EXACT)
    assert "the pictures have 24.5 dB, with their own 24.9 dB." in text(EXACT)
    assert cannot in text({**EXACT, "psnr": 23.0})
    assert cannot + "cameras estimated again" in text(again=AGAIN)
    assert "agree with these for 22.0 % of the pairs" in text(again=AGAIN)
    assert can in text(again={"pairs": 3, "rpa": {"15": 0.8}})
    both = text(EXACT, AGAIN)
    assert can in both  # what was measured with pictures decides
    assert "22.0 %" in both


def test_the_probe_tells_what_the_cameras_hide():
    def text(rpa, cameras):
        return verdict(SUMMARY, poses=cameras, probe={**PROBE, **poses(rpa)})["text"]

    hidden = "they hold the geometry that the cameras do not show."
    assert "a small network trained on 60 scenes with known cameras reads" in text(0.83, None)
    assert "83.0 % of the pairs within 15 degrees, in 20 other scenes" in text(0.83, None)
    assert hidden in text(0.83, poses(0.1))
    assert hidden not in text(0.83, poses(0.9))
    assert hidden not in text(0.83, None)
    assert hidden not in text(0.3, poses(0.1))


def test_given_cameras_are_not_judged():
    found = verdict(SUMMARY, controls=CONTROLS, poses=poses(), cameras_given=True)
    assert found == {
        "cameras": "unknown",
        "text": "The cameras were given to this model, so nothing is said about them. The pictures are 7.2 dB better "
        "than a copy of the nearest photo: PSNR 25.6 against 18.4 dB (higher is better).",
    }


SECTIONS = {
    "summary": SUMMARY,
    "controls": CONTROLS,
    "no_leak": NO_LEAK,
    "poses": poses(),
    "transfer": {"exact": EXACT, "re_estimated": None},
    "probe": PROBE,
}
NEEDS = {  # words of a claim -> the sections without which it must not stand there
    "better than a copy of the nearest photo: PSNR": {"summary", "controls"},
    "without that photo": {"summary", "no_leak"},
    "2.8 dB better than the copy": {"summary", "no_leak", "controls"},
    "checkpoint are geometric: 93.0 %": {"poses"},
    "can be used in another: ": {"transfer"},
    "a small network": {"probe"},
}
NULLS = {"psnr": None, "rpa": {"15": None}, "ate": None}


@pytest.mark.parametrize("absent", [None, {}, NULLS, {"copy_nearest": NULLS}, {"exact": NULLS, "re_estimated": NULLS}])
def test_nothing_is_claimed_that_was_not_measured(absent):
    for count in range(len(SECTIONS) + 1):
        for known in itertools.combinations(SECTIONS, count):
            given = {name: section if name in known else absent for name, section in SECTIONS.items()}
            found = verdict(given.pop("summary"), **given)
            said = {words for words in NEEDS if words in found["text"]}
            assert said == {words for words, needed in NEEDS.items() if needed <= set(known)}
            assert found["cameras"] == ("are" if "poses" in known else "unknown")
            assert "None" not in found["text"]
            assert "nan" not in found["text"].lower().split()


def test_one_plain_paragraph():
    for given in ({}, {name: section for name, section in SECTIONS.items() if name != "summary"}):
        text = verdict(SUMMARY, **given)["text"]
        assert "\n" not in text
        assert "  " not in text
        assert text.endswith(".")


@pytest.mark.parametrize(("constant", "blind"), [(25.4, True), (25.3, True), (25.2, False), (None, False)])
def test_pictures_that_do_not_depend_on_cameras_prove_nothing_about_them(constant, blind):
    controls = {**CONTROLS, "constant_camera": {"psnr": constant}}
    text = verdict(SUMMARY, controls=controls, no_leak=NO_LEAK, transfer={"exact": EXACT})["text"]
    assert ("hardly depend on the cameras" in text) == blind
    assert ("can be used in another" in text) != blind
    assert ("without that photo" in text) != blind
