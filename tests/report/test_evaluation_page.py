import json
import re
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest

from rayzer.errors import InputError
from rayzer.report.evaluation_page import EvaluationPage, write_evaluation_page
from rayzer.report.pictures import PictureFolder
from rayzer.report.read_results import load_results

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&"


class Text(HTMLParser):
    """What a reader sees of a page."""

    def __init__(self, html):
        super().__init__()
        self.hidden, self.words = False, []
        self.feed(html)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.hidden = tag in ("script", "style")

    def handle_endtag(self, tag):
        self.hidden = False

    def handle_data(self, data):
        if not self.hidden:
            self.words.append(data)


def html_of(folder):
    return write_evaluation_page(folder).read_text(encoding="utf-8")


def text_of(folder):
    return Text(html_of(folder)).text


def details(html):
    found = re.findall(r'<script type="application/json" id="scene-\d+">(.*?)</script>', html, re.S)
    return [json.loads(text) for text in found]


def page_of(folder):
    return EvaluationPage(load_results(folder), PictureFolder(folder))


def test_the_top_says_it_in_words(tmp_path, make_evaluation):
    content = make_evaluation(tmp_path, scenes=2)
    psnr = content["summary"]["psnr"]
    said = f"{psnr:.2f} dB PSNR over 8 held-out views of 2 scenes, {psnr - 15.2:.2f} dB above copying the nearest"
    text = text_of(tmp_path)
    assert said in text
    assert "Not geometric. Moving a camera" in text
    assert "95 %: 24.10–26.30" in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"controls": ...}, "{psnr:.2f} dB PSNR over 4 held-out views of 1 scene."),
        ({"controls": {"copy_nearest": {"psnr": 99.0}}}, "dB below copying the nearest input photo."),
        ({"summary": {"scenes": 1}}, "4 held-out views of 1 scene."),
    ],
)
def test_summary(tmp_path, make_evaluation, changes, said):
    content = make_evaluation(tmp_path, scenes=1, **changes)
    assert page_of(tmp_path).summary.endswith(said.format(psnr=content["summary"].get("psnr", 0)))


def test_every_section_is_there(tmp_path, make_evaluation):
    make_evaluation(tmp_path, scenes=4, failed=[{"name": "bad", "error": "frames/3.png: not readable"}])
    text = text_of(tmp_path)
    for said in (
        "Copy nearest",
        "−",
        "Reversed order",
        "Target slots were filled",
        "Through a probe",
        "fitted on 96, tested on 32 scenes",
        "After a transfer",
        "against 25.00 dB",
        "Fewer and more input photos",
        "Best scene",
        "Median scene",
        "Worst scene",
        "1 scene failed and is not counted: bad.",
        "bad : frames/3.png: not readable",
        "1 scene left out: the view index has null for it an empty street",
        "Checkpoint: sha256 0123456789abcdef",
        "camera.layers 8",
    ):
        assert said in text, said


def test_small_files_make_a_page(tmp_path, make_evaluation):
    views = [{"index": 2, "psnr": 20.0, "ssim": 0.5, "lpips": None}]
    scene = {"name": "room-1", "psnr": 20.0, "ssim": 0.5, "lpips": None, "views": views}
    content = {
        "summary": {"psnr": 20.0, "ssim": 0.5, "lpips": None, "scenes": 1},
        "scenes": [scene],
        "controls": {"copy_nearest": {"psnr": 15.0}},
    }
    (tmp_path / "results.json").write_text(json.dumps(content))
    html = html_of(tmp_path)
    assert "5.00 dB above copying" in Text(html).text
    assert "verdict" not in re.sub(r"<style>.*?</style>", "", html, flags=re.S)
    assert details(html)[0]["views"][0]["name"] == "frame 2"


def test_no_scene_at_all(tmp_path):
    (tmp_path / "results.json").write_text('{"summary": {"scenes": 0}, "scenes": []}')
    assert "0 held-out views of 0 scenes." in text_of(tmp_path)


def test_missing_lpips_is_a_dash_and_a_reason(tmp_path, make_evaluation):
    content = make_evaluation(
        tmp_path, not_computed={"lpips": "no VGG weights in the cache", "poses": "no true cameras"}
    )
    for item in (content["summary"], *content["scenes"], *(view for s in content["scenes"] for view in s["views"])):
        item["lpips"] = None
    (tmp_path / "results.json").write_text(json.dumps(content))
    page = page_of(tmp_path)
    assert page.cards[2] == ("LPIPS", "–", "not computed")
    assert "LPIPS" not in page.columns
    text = text_of(tmp_path)
    assert "LPIPS was not computed: no VGG weights in the cache." in text
    assert "Pose errors: not computed no true cameras" in text


def test_equal_pictures_are_called_identical(tmp_path, make_evaluation):
    content = make_evaluation(tmp_path, scenes=2)
    for item in (content["scenes"][0], content["scenes"][0]["views"][0]):
        item |= {"psnr": None, "ssim": 1.0, "identical": 1}
    (tmp_path / "results.json").write_text(json.dumps(content))
    page = page_of(tmp_path)
    assert page.details[0]["views"][0]["psnr"] == "identical"
    assert page.rows[0].cells[0][1] == "identical"
    text_of(tmp_path)


def test_missing_pictures_are_noted(tmp_path, make_evaluation):
    make_evaluation(tmp_path, scenes=2)
    (tmp_path / "scenes/0000/002-render.webp").unlink()
    (tmp_path / "scenes/0001/fly.mp4").unlink()
    (tmp_path / "scenes/0001/002.webp").write_bytes(b"no picture")
    html = html_of(tmp_path)
    assert "missing beside this page" in Text(html).text
    assert details(html)[0]["views"][0]["render"] is None
    assert details(html)[1]["video"] is None


def test_every_file_it_names_is_there(tmp_path, make_evaluation):
    make_evaluation(tmp_path, scenes=2)
    html = html_of(tmp_path)
    named = set(re.findall(r'"(scenes/[^"]+)"', html))
    assert len(named) == 2 * (12 + 4 + 1)
    assert all((tmp_path / unquote(url)).is_file() for url in named)


def test_details_carry_pictures_cameras_and_scores(tmp_path, make_evaluation):
    make_evaluation(tmp_path, scenes=1)
    scene = details(html_of(tmp_path))[0]
    view = scene["views"][1]
    assert [choice["picture"][-8:] for choice in view["choices"]] == ["005.webp", "004.webp", "005.webp"]
    assert view["choices"][2]["error"]
    kinds = [camera["kind"] for camera in scene["plot"]["cameras"]]
    assert kinds == ["context", "context", "target"] * 4 + ["true"] * 12
    assert len(scene["plot"]["path"]) == 20
    assert [photo["camera"] for photo in scene["context"]] == [0, 1, 3, 4, 6, 7, 9, 10]
    assert ["RRA at 15°", "78.0 %"] in scene["figures"]


def test_names_stay_text(tmp_path, make_evaluation):
    evil = {"title": EVIL, "failed": [{"name": EVIL, "error": EVIL}], "left_out": {EVIL: [EVIL]}}
    evil |= {"not_computed": {EVIL: EVIL}, "verdict": {"cameras": "are", "text": EVIL}, "controls": {EVIL: {}}}
    content = make_evaluation(tmp_path, names=[EVIL, "東京 🗼" * 50], config={EVIL: EVIL}, **evil)
    content["scenes"][0]["views"][0]["name"] = content["scenes"][0]["context"][0]["name"] = EVIL
    (tmp_path / "results.json").write_text(json.dumps(content))
    html = html_of(tmp_path)
    assert "<script>alert" not in html
    assert "<img src=x" not in html
    assert details(html)[0]["name"] == EVIL
    assert len(details(html)) == 2


def test_it_stands_alone(tmp_path, make_evaluation):
    make_evaluation(tmp_path)
    html = html_of(tmp_path)
    assert not re.search(r"(src|href)=\"?(https?:)?//|@import|url\((?!\"data:)|\son[a-z]+=", html)
    assert str(tmp_path) not in html


def test_the_same_results_give_the_same_page_and_nothing_else(tmp_path, make_evaluation):
    make_evaluation(tmp_path, scenes=2)
    before = set(tmp_path.iterdir())
    assert html_of(tmp_path) == html_of(tmp_path)
    assert set(tmp_path.iterdir()) == before | {tmp_path / "index.html"}


def test_a_page_about_something_else_stays(tmp_path, make_evaluation):
    make_evaluation(tmp_path)
    (tmp_path / "index.html").write_text("<!doctype html>my page")
    with pytest.raises(InputError, match="is another page"):
        write_evaluation_page(tmp_path)
    assert (tmp_path / "index.html").read_text() == "<!doctype html>my page"
    write_evaluation_page(tmp_path, overwrite=True)
    write_evaluation_page(tmp_path)


def test_best_median_and_worst(tmp_path, make_evaluation):
    content = make_evaluation(tmp_path, scenes=5)
    ranked = sorted(range(5), key=lambda number: -content["scenes"][number]["psnr"])
    page = page_of(tmp_path)
    assert [item.number for item in page.highlights] == [ranked[0], ranked[2], ranked[4]]
    assert page.first_scene == ranked[2]


@pytest.mark.parametrize(("scenes", "labels"), [(1, []), (2, ["Best scene", "Worst scene"])])
def test_few_scenes_are_not_ranked_twice(tmp_path, make_evaluation, scenes, labels):
    make_evaluation(tmp_path, scenes=scenes)
    assert [item.label for item in page_of(tmp_path).highlights] == labels


def test_a_big_evaluation_stays_small(tmp_path, make_evaluation):
    make_evaluation(tmp_path, scenes=140, size=256)
    page = write_evaluation_page(tmp_path)
    assert page.stat().st_size < 8e6
    beside = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.suffix in (".webp", ".html"))
    assert beside < 60e6
