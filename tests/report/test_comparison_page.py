import json
import re

import pytest

from rayzer.errors import InputError
from rayzer.report.comparison_page import ComparisonPage, Run, write_comparison_page
from rayzer.report.pictures import PictureFolder
from rayzer.report.read_results import load_results

NAMES = ["kitchen", "garden", "hall <b>"]


@pytest.fixture
def runs(tmp_path, make_evaluation):
    """Two runs; the second is better in two scenes of three, and has one more."""
    folders = [tmp_path / "runs" / "first one", tmp_path / "runs" / "50% & more"]
    for folder, names in zip(folders, (NAMES, [*NAMES, "attic"]), strict=True):
        folder.mkdir(parents=True)
        content = make_evaluation(folder, names=names, title=folder.name)
        if folder is folders[1]:
            for scene, gain in zip(content["scenes"], (0.5, 0.7, -0.3, 9), strict=True):
                scene["psnr"] += gain
                scene["lpips"] -= gain / 10
            content["data"]["view_index_sha256"] = "another"
            (folder / "results.json").write_text(json.dumps(content))
    return folders


def page_of(folders):
    return ComparisonPage(
        [Run(folder.name, folder.name, load_results(folder), PictureFolder(folder)) for folder in folders]
    )


def test_differences_are_paired_by_name(runs):
    (run, (psnr, ssim, lpips)), *rest = page_of(runs).differences
    assert run.name == "50% & more"
    assert rest == []
    assert psnr == ("PSNR", "+0.30 dB", 2, 3)
    assert ssim == ("SSIM", "+0.000", 0, 3)
    assert lpips == ("LPIPS", "−0.030", 2, 3), "lower is better"


def test_other_views_and_other_scenes_are_warned_about(runs):
    views, scenes = (notice.sentence for notice in page_of(runs).notices)
    assert views.startswith("Evaluated on other views than first one: 50% & more.")
    assert scenes.startswith("Other scenes than first one: 50% & more.")
    assert page_of([runs[0], runs[0]]).notices == []


def test_pictures_are_found_from_where_the_page_lies(tmp_path, runs):
    path = tmp_path / "pages" / "comparison.html"
    path.parent.mkdir()
    write_comparison_page(path, runs)
    html = path.read_text()
    assert str(tmp_path) not in html
    scenes = [json.loads(text) for text in re.findall(r'id="scene-\d+">(.*?)</script>', html, re.S)]
    assert [scene["name"] for scene in scenes] == NAMES
    view = scenes[1]["views"][0]
    assert view["truth"] == "../runs/first%20one/scenes/0001/002.webp"
    assert view["renders"][1]["picture"] == "../runs/50%25%20%26%20more/scenes/0001/002-render.webp"
    assert "<b>" not in html


def test_runs_with_nothing_in_common(tmp_path, make_evaluation):
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
        make_evaluation(folder, names=[f"only in {folder.name}"])
    write_comparison_page(tmp_path / "page.html", folders)
    html = (tmp_path / "page.html").read_text()
    assert "No scene is in all runs" in html
    assert "data-pictures" not in re.sub(r"<script.*?</script>", "", html, flags=re.S)


def test_nothing_is_overwritten(tmp_path, runs):
    path = tmp_path / "page.html"
    path.write_text("mine")
    with pytest.raises(InputError, match="exists"):
        write_comparison_page(path, runs)
    assert path.read_text() == "mine"
    write_comparison_page(path, runs, overwrite=True)
    assert "evaluations side by side" in path.read_text()
