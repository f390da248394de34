import dataclasses
import json
import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest

from rayzer.report.build import decibels, environment, relative_url
from rayzer.report.parts import Download, Fact, Notice
from rayzer.report.prediction_page import View, write_prediction_page

IDENTITY = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


class Page(HTMLParser):
    """Tags with their attributes and the text of a page."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.words = [], []
        self.feed(html)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def written(folder, page):
    write_prediction_page(folder / "index.html", page)
    return (folder / "index.html").read_text(encoding="utf-8")


def plot_data(html):
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', html, re.S)[1])


def test_every_file_it_names_is_there(tmp_path, make_page):
    page = make_page(
        tmp_path, names=["a b.png", "50%.png", "#1.png", "ä 東京.png", "q?.png", "a&b'\".png"], downloads=[]
    )
    html = written(tmp_path, page)
    names = {url for _, tag in Page(html).tags for key, url in tag.items() if key in ("src", "poster")}
    assert len(names) == 6 + 2 + 2
    assert all((tmp_path / unquote(url)).is_file() for url in names)


def test_it_stands_alone(tmp_path, make_page):
    html = written(tmp_path, make_page(tmp_path))
    assert not re.search(r"(src|href)=\"?(https?:)?//|@import|url\((?!\"data:)", html)
    assert [name for name in ("jinja", "{{", "{%") if name in html] == []


def test_names_and_sentences_stay_text(tmp_path, make_page):
    evil = "<script>alert(1)</script>"
    name = "<script>alert(1)<\u2215script>.png"
    page = make_page(
        tmp_path,
        title=evil,
        subtitle=[evil],
        names=[name, *(f"{k}.png" for k in range(5))],
        notices=[Notice("warning", evil)],
        downloads=[Download(evil, "cameras.json", evil)],
        facts=[Fact(evil, evil)],
    )
    page = dataclasses.replace(page, views=[dataclasses.replace(view, name="</script>" + evil) for view in page.views])
    html = written(tmp_path, page)
    assert "<script>alert" not in html
    assert len(Page(html).all("script")) == 2
    assert plot_data(html)["cameras"][0]["name"] == "</script>" + evil


def test_names_that_are_not_utf8(tmp_path, make_page):
    page = make_page(tmp_path, names=[f"{k}\udce9.png" for k in range(6)])
    assert "frames/0%E9.png" in written(tmp_path, page)


def test_plot_shows_views_then_true_cameras_then_path(tmp_path, make_page):
    page = make_page(tmp_path)
    first = dataclasses.replace(page.views[0], true_world_from_camera=IDENTITY)
    data = plot_data(written(tmp_path, dataclasses.replace(page, views=[first, *page.views[1:]])))
    kinds = [camera["kind"] for camera in data["cameras"]]
    assert kinds == ["context", "context", "target", "context", "context", "target", "true"]
    assert data["cameras"][6]["pose"] == IDENTITY
    assert data["path"] == page.fly_through.path


def test_summary_counts_and_averages(tmp_path, make_page):
    page = make_page(tmp_path)
    assert (
        page.summary == "A scene and its cameras from 4 photos, checked against 2 held out: 25.30 dB PSNR on average."
    )
    unscored = [dataclasses.replace(view, psnr_db=None) for view in page.views]
    assert dataclasses.replace(page, views=unscored).summary.endswith("checked against 2 held out.")
    inputs = dataclasses.replace(page, views=page.context, cameras_given=True)
    assert inputs.summary == "A scene from 4 photos."


def test_repeated_and_identical_photos_do_not_count(tmp_path, make_page):
    page = make_page(tmp_path)
    third, sixth = page.views[2], page.views[5]
    repeated = dataclasses.replace(third, repeated=True, psnr_db=99.0)
    assert dataclasses.replace(page, views=[repeated, sixth]).mean_psnr_db == sixth.psnr_db
    identical = dataclasses.replace(third, psnr_db=math.inf)
    assert dataclasses.replace(page, views=[identical, sixth]).mean_psnr_db == sixth.psnr_db
    assert dataclasses.replace(page, views=[identical]).mean_psnr_db is None
    text = Page(written(tmp_path, dataclasses.replace(page, views=[repeated, identical, sixth]))).text
    assert "Repeated photo" in text
    assert "identical" in text


def test_parts_without_content_are_left_out(tmp_path, make_page):
    page = make_page(tmp_path, fly_through=None, notices=[], downloads=[], facts=[], subtitle=[])
    html = written(tmp_path, dataclasses.replace(page, views=page.context))
    parsed = Page(html)
    ids = {tag.get("id") for _, tag in parsed.tags}
    assert {"held-out", "files", "fly-through"}.isdisjoint(ids)
    assert {link["href"][1:] for link in parsed.all("a")} <= ids
    assert parsed.all("video") == []
    assert "PSNR" not in parsed.text


def test_many_notices_fold_away(tmp_path, make_page):
    notices = [Notice("info", f"photo {k} was left out") for k in range(30)]
    text = Page(written(tmp_path, make_page(tmp_path, notices=notices))).text
    assert "26 more notices" in text
    assert "photo 29 was left out" in text


def test_given_cameras_are_not_called_predicted(tmp_path, make_page):
    text = Page(written(tmp_path, make_page(tmp_path, cameras_given=True))).text
    assert "as given with the photos" in text
    assert "predicted from the photos alone" not in text
    assert "scale is arbitrary" not in text


def test_same_page_gives_the_same_bytes_and_nothing_else(tmp_path, make_page):
    page = make_page(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert written(tmp_path, page) == written(tmp_path, page)
    assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / "index.html"])


BAD_VIEWS = {
    "role": {"role": "test"},
    "not 4x4": {"world_from_camera": IDENTITY[:3]},
    "finite": {"world_from_camera": [[math.nan, 0, 0, 0], *IDENTITY[1:]]},
    "focal": {"intrinsics": [0, 1, 0.5, 0.5]},
    "intrinsics": {"intrinsics": [1, 1]},
    "psnr": {"psnr_db": math.nan},
    "true": {"true_world_from_camera": [[math.inf] * 4] * 4},
}


@pytest.mark.parametrize("bad", BAD_VIEWS.values(), ids=BAD_VIEWS.keys())
def test_bad_views_are_named(bad):
    good = {
        "role": "context",
        "picture": "a.png",
        "world_from_camera": IDENTITY,
        "intrinsics": [1, 1, 0.5, 0.5],
    }
    View("IMG_1", **good)
    with pytest.raises(ValueError, match="IMG_1"):
        View("IMG_1", **{**good, **bad})


def test_filters():
    assert decibels(27.406) == "27.41 dB"
    assert relative_url("a b/ü#%.png") == "a%20b/%C3%BC%23%25.png"
    assert relative_url("javascript:alert(1)") == "javascript%3Aalert%281%29"
    with pytest.raises(ValueError, match="relative"):
        relative_url("/etc/a.png")


def test_a_missing_name_in_a_template_is_an_error():
    with pytest.raises(Exception, match="undefined"):
        environment().from_string("{{ nothing }}").render()


def test_it_needs_no_torch():
    code = "import sys; import rayzer.report.prediction_page; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
