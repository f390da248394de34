import json

import pytest

from rayzer.report.comparison_page import compare
from rayzer.report.comparison_text import comparison_text


@pytest.fixture
def folders(tmp_path, make_evaluation):
    """Two runs of three scenes, of which the second is better in two; it has no SSIM, and neither has LPIPS."""
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
        content = make_evaluation(folder, names=["x", "y", "z"], title=f"run {folder.name}")
        content["protocol"] |= {"width_px": 256, "height_px": 256}
        for scores in (content["summary"], *content["scenes"]):
            scores["lpips"] = None
        if folder is folders[1]:
            content["summary"]["ssim"] = None
            for scene, gain in zip(content["scenes"], (0.5, 0.7, -0.3), strict=True):
                scene["psnr"] += gain
                scene["ssim"] = None
        (folder / "results.json").write_text(json.dumps(content))
    return folders


def change(folder, **protocol):
    content = json.loads((folder / "results.json").read_text())
    content["protocol"] |= protocol
    (folder / "results.json").write_text(json.dumps(content))


def test_rows_are_runs_and_differences(folders):
    heading, *rows = comparison_text(compare(folders)).splitlines()
    assert heading.split("  ")[0] == "Run"
    assert "PSNR ↑" in heading
    assert "SSIM ↑" in heading
    assert "LPIPS" not in heading, "no run has it"
    assert [row[:26].rstrip() for row in rows] == ["run a", "run b", "  difference, scene by sce", "  better in"]
    assert rows[1].split()[3] == "–"
    assert "+0.30 dB" in rows[2]
    assert "2 of 3" in rows[3]
    assert len({row.index("dB") if "dB" in row else row.index("of 3") + 2 for row in rows[2:]}) == 1, "aligned"


def test_what_is_not_comparable_is_said(folders):
    assert "not" not in comparison_text(compare(folders))
    change(folders[1], height_px=128)
    text = comparison_text(compare(folders))
    assert "Pictures of another size than run a (256 × 256 pixels): run b (256 × 128 pixels)." in text


def test_runs_without_a_scene_in_common(tmp_path, folders):
    content = json.loads((folders[1] / "results.json").read_text())
    for scene in content["scenes"]:
        scene["name"] += " elsewhere"
    (folders[1] / "results.json").write_text(json.dumps(content))
    text = comparison_text(compare(folders))
    assert "better in" not in text
    assert "No scene is in all runs" in text
