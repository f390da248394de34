"""What the figures of an evaluation mean, in one paragraph for people who meet such models for the first time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rayzer.errors import counted

Section = Mapping[str, Any]  # of results.json

GEOMETRIC_RPA = 0.8  # least share of pairs within 15 degrees
GEOMETRIC_ATE = 0.1  # largest error of the camera centres, of the size of the path
PARTLY_RPA = 0.5
TRANSFER_LOSS_DB = 1.0  # cameras that cost no more in another scene carry over
BLIND_DB = 0.3  # a camera that changes the pictures less does not steer them

RULE = (
    f"geometric means at least {100 * GEOMETRIC_RPA:.0f} % of the pairs, at most {100 * GEOMETRIC_ATE:.0f} %, and half "
    "the error of cameras on a straight line"
)


def verdict(
    summary: Section | None,
    *,
    controls: Section | None = None,
    no_leak: Section | None = None,
    poses: Section | None = None,
    transfer: Section | None = None,
    probe: Section | None = None,
    cameras_given: bool = False,
) -> dict[str, str]:
    """The section `verdict` of results.json from its other sections, each None where it was not measured.

    Cameras are called geometric where RPA@15 >= 0.8, ATE <= 0.1 and 1 - AUC@20 is at most half that of cameras on a
    straight line, which on mild paths pass the other two. Where the line passes them and is not clearly beaten, the
    paths cannot tell. Those in between (RPA@15 >= 0.5) are not, and the
    text says "partly". Where the positions could not be judged (no ATE), a high RPA@15 alone leaves it unknown.

    Args:
        summary, controls, no_leak, poses, transfer, probe: sections as they stand in results.json.
        cameras_given: the model takes cameras (LVSM): nothing but its pictures is judged.

    Returns:
        `cameras`: "are", "are not" or "unknown" (geometric), and `text`: the paragraph.
    """
    pictures = _pictures_text(_psnr(summary), _copy_psnr(controls))
    if cameras_given:
        given = "The cameras were given to this model, so nothing is said about them."
        return {"cameras": "unknown", "text": f"{given} {pictures}"}
    cameras, geometry = _geometry(poses)
    uses = _blind_text(_psnr(summary), _psnr((controls or {}).get("constant_camera")))
    sentences = [geometry, _probe_text(probe, cameras), pictures]
    sentences += (
        [uses]
        if uses
        else [_no_leak_text(_psnr(summary), _psnr(no_leak), _copy_psnr(controls)), _transfer_text(transfer)]
    )
    return {"cameras": cameras, "text": " ".join(filter(None, sentences))}


def _geometry(poses: Section | None) -> tuple[str, str]:
    rpa, ate = _rpa_15(poses), (poses or {}).get("ate")
    if poses is None or rpa is None:
        return (
            "unknown",
            "Whether the cameras of this checkpoint are geometric is unknown: they were not compared with true ones.",
        )
    figures = _figures(poses, rpa, ate)
    if rpa >= GEOMETRIC_RPA and ate is None:
        return "unknown", f"Whether the cameras of this checkpoint are geometric is unknown: {figures} ({RULE})."
    line = poses.get("straight_line")
    if _passes(poses) and not _beats(poses, line) and _passes(line):
        mild = "the paths are so mild that cameras on a straight line would do about as well"
        return "unknown", f"Whether the cameras of this checkpoint are geometric is unknown: {figures}, but {mild}."
    if _passes(poses) and _beats(poses, line):
        return "are", f"The cameras of this checkpoint are geometric: {figures} ({RULE})."
    if rpa >= PARTLY_RPA:
        partly = "The cameras of this checkpoint are only partly geometric, which counts as not geometric"
        return "are not", f"{partly}: {figures} ({RULE})."
    steer = "They steer the renderer; do not measure anything with them."
    return "are not", f"The cameras of this checkpoint are not geometric: {figures} ({RULE}). {steer}"


def _passes(poses: Section | None) -> bool:
    """Whether the figures alone are those of geometric cameras."""
    rpa, ate = _rpa_15(poses), (poses or {}).get("ate")
    return rpa is not None and rpa >= GEOMETRIC_RPA and ate is not None and ate <= GEOMETRIC_ATE


def _beats(poses: Section, line: Section | None) -> bool:
    """Whether the error is at most half that of cameras on a straight line, as far as these were scored."""
    own, trivial = ((each or {}).get("auc", {}).get("20") for each in (poses, line))
    return own is None or trivial is None or 1 - own <= (1 - trivial) / 2


def _figures(poses: Section, rpa: float, ate: float | None) -> str:
    scenes = f" in {counted(poses['scenes'], 'scene')}" if "scenes" in poses else ""
    pairs = (
        f"{_percent(rpa)} of the pairs of views{scenes} agree with the true cameras within 15 degrees, in rotation and "
        "in the direction of movement"
    )
    if ate is None:
        return f"{pairs}; how far the camera positions are off could not be measured"
    return f"{pairs}, and the camera positions are off by {_percent(ate)} of the size of the path"


def _probe_text(probe: Section | None, cameras: str) -> str | None:
    rpa = _rpa_15(probe)
    if probe is None or rpa is None:
        return None
    text = (
        "From the model's inner camera tokens, a small network trained on "
        f"{counted(probe['train_scenes'], 'scene')} with known cameras reads the true relative poses of "
        f"{_percent(rpa)} of the pairs within 15 degrees, in {counted(probe['test_scenes'], 'other scene')}"
    )
    hidden = cameras == "are not" and rpa >= GEOMETRIC_RPA
    return f"{text}: they hold the geometry that the cameras do not show." if hidden else f"{text}."


def _pictures_text(psnr: float | None, copy: float | None) -> str:
    if psnr is None or copy is None:
        return "Whether the pictures are better than a copy of the nearest photo was not measured."
    return (
        f"The pictures are {_compared(psnr - copy)} a copy of the nearest photo: PSNR {psnr:.1f} against {copy:.1f} dB "
        "(higher is better)."
    )


def _blind_text(psnr: float | None, constant: float | None) -> str | None:
    """What is said in place of all that takes for granted that cameras steer the pictures; None if they do."""
    if psnr is None or constant is None or psnr - constant > BLIND_DB:
        return None
    return (
        f"The pictures hardly depend on the cameras: drawn from one and the same camera they have {constant:.1f} dB. "
        "So neither the score without the photo that is to be drawn nor cameras from another scene would say anything."
    )


def _no_leak_text(psnr: float | None, without: float | None, copy: float | None) -> str:
    if psnr is None or without is None:
        return "How much a photo helps to draw itself, through its own camera, was not measured."
    start = (
        "A camera is estimated from the very photo that is to be drawn; where it is guessed from the neighbouring "
        "cameras instead, without that photo, the pictures"
    )
    loss = round(psnr - without, 1)
    guessed = "part of it because a guessed camera is less exact"
    effect = f"lose {loss:.1f} dB ({guessed})" if loss > 0 else "lose nothing"
    if copy is None:
        return f"{start} {effect}: {without:.1f} dB."
    return f"{start} {effect}: {without:.1f} dB, {_compared(without - copy)} the copy."


def _transfer_text(transfer: Section | None) -> str:
    exact, again = ((transfer or {}).get(kind) for kind in ("exact", "re_estimated"))
    own, other, rpa = _psnr((exact or {}).get("own")), _psnr(exact), _rpa_15(again)
    if own is not None and other is not None:
        carried = own - other <= TRANSFER_LOSS_DB
    elif rpa is not None:
        carried = rpa >= GEOMETRIC_RPA
    else:
        return "Whether cameras of one scene can be used in another was not measured."
    parts = []
    if own is not None and other is not None:
        parts.append(
            f"with the cameras of another scene that was filmed along the same path the pictures have {other:.1f} dB, "
            f"with their own {own:.1f} dB"
        )
    if rpa is not None:
        parts.append(
            "cameras estimated again from pictures that were drawn with another scene's cameras agree with these for "
            f"{_percent(rpa)} of the pairs of views within 15 degrees"
        )
    return f"Cameras of one scene {'can' if carried else 'cannot'} be used in another: {'; '.join(parts)}."


def _compared(margin_db: float) -> str:
    """Such as "3.2 dB better than", "as good as", "0.4 dB worse than"; less than a tenth does not count."""
    margin = round(margin_db, 1)
    if margin == 0:
        return "as good as"
    return f"{abs(margin):.1f} dB {'better' if margin > 0 else 'worse'} than"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _psnr(section: Section | None) -> float | None:
    return None if section is None else section.get("psnr")


def _copy_psnr(controls: Section | None) -> float | None:
    return _psnr((controls or {}).get("copy_nearest"))


def _rpa_15(section: Section | None) -> float | None:
    return None if section is None else section.get("rpa", {}).get("15")
