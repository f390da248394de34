import functools
import json
import time

import pytest

from rayzer.report.comparison_page import write_comparison_page
from rayzer.report.evaluation_page import write_evaluation_page

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.browser

EVIL = "<script>alert(1)</script>"
NAMES = ["kitchen", "garden", f"{'long ' * 40}", EVIL, "ä 東京 #1 50%"]
VIDEO_TIME = "document.querySelector('video').currentTime"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, make_evaluation):
    folder = tmp_path_factory.mktemp("evaluation")
    make_evaluation(folder, names=NAMES, failed=[{"name": EVIL, "error": EVIL}])
    write_evaluation_page(folder)
    return folder


@pytest.fixture
def open_page(browse, folder):
    return functools.partial(browse, (folder / "index.html").as_uri())


@pytest.fixture
def calm(open_page):
    return open_page(reduced_motion="reduce")


def listed(page):
    return page.locator("tbody tr[data-scene]:visible th").all_inner_texts()


def chosen(page):
    return page.locator("#scene h2").inner_text()


def test_every_picture_loads(calm):
    calm.evaluate(
        """async () => {
          for (const image of document.querySelectorAll("img[src]")) {
            image.loading = "eager";
            await image.decode();
          }
        }"""
    )


def test_the_median_scene_is_shown_first(calm):
    assert chosen(calm) == "garden"
    assert calm.locator("tr[aria-current] th").inner_text() == "garden"


def test_table_sorts_by_a_click_and_by_keyboard(calm):
    heading = calm.get_by_role("columnheader", name="PSNR").last
    numbers = calm.locator(f"tbody tr[data-scene] td:nth-child({heading.evaluate('cell => cell.cellIndex') + 1})")
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    values = [float(text) for text in numbers.all_inner_texts()]
    assert values == sorted(values, reverse=True)
    calm.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert [float(text) for text in numbers.all_inner_texts()] == sorted(values)
    name = calm.get_by_role("columnheader", name="Scene").get_by_role("button")
    name.press("Space")
    assert listed(calm)[0].startswith("<script>")
    assert heading.get_attribute("aria-sort") == "none"


def test_table_filters_by_name(calm):
    box = calm.get_by_label("Filter by name")
    box.fill("  GARD")
    assert listed(calm) == ["garden"]
    expect(calm.locator("[data-count]")).to_have_text("1 of 5 scenes")
    box.fill("nothing")
    assert listed(calm) == []
    box.fill("")
    expect(calm.locator("[data-count]")).to_have_text("5 scenes")


def test_choosing_a_scene_shows_it(calm):
    calm.get_by_role("button", name="garden").last.press("Enter")
    assert chosen(calm) == "garden"
    assert calm.evaluate("document.activeElement.id") == "scene-title"
    assert calm.locator("#scene .compare-pictures > img").get_attribute("src") == "scenes/0001/002-render.webp"
    calm.get_by_role("cell").filter(has_text="+9.50").first.click()
    assert chosen(calm) == "kitchen"


def test_scenes_follow_the_order_of_the_table(calm):
    calm.get_by_label("Filter by name").fill("i")
    calm.get_by_role("button", name="kitchen").last.click()
    expect(calm.locator("[data-position]")).to_have_text("Scene 1 of 2")
    calm.get_by_role("button", name="Next scene").click()
    assert chosen(calm) == EVIL
    calm.get_by_role("button", name="Next scene").click()
    assert chosen(calm) == "kitchen"
    calm.get_by_role("button", name="Previous scene").click()
    assert chosen(calm) == EVIL


def test_best_and_worst_lead_to_their_scenes(calm):
    button = calm.locator("#highlights [data-choose-scene]").first
    button.click()
    assert chosen(calm) == button.inner_text()


def test_another_view_is_compared(calm):
    views = calm.locator("[data-views] button")
    views.nth(2).click()
    assert views.nth(2).get_attribute("aria-pressed") == "true"
    assert views.nth(0).get_attribute("aria-pressed") == "false"
    expect(calm.locator("[data-view-name]")).to_have_text("frame_00008.png")
    assert calm.locator("#scene .compare-first img").get_attribute("src") == "scenes/0001/008.webp"


def test_what_is_compared_can_be_chosen(calm):
    scene = calm.locator("#scene")
    first = scene.locator(".compare-first img")
    scene.get_by_role("radio", name="Nearest input").check()
    assert first.get_attribute("src") == "scenes/0001/001.webp"
    expect(scene.locator(".compare-label").first).to_have_text("Nearest input")
    calm.keyboard.press("ArrowRight")
    assert [image.get_attribute("src") for image in first.all()] == [
        "scenes/0001/002.webp",
        "scenes/0001/002-render.webp",
    ]
    assert first.last.evaluate("image => getComputedStyle(image).mixBlendMode") == "difference"
    calm.get_by_role("button", name="Next scene").click()
    assert first.count() == 2, "the next scene is compared in the same way"
    assert calm.locator("#highlights .compare-first img").count() == 3, "other sections stay as they are"


def test_slider_moves_by_keyboard(calm):
    slider = calm.locator("#scene input[type=range]")
    slider.focus()
    for _ in range(10):
        calm.keyboard.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "60 % Truth, 40 % Render"


def test_input_photos_find_their_cameras(calm):
    calm.locator("[data-context] button").nth(2).click()
    card = calm.locator("[data-card]")
    expect(card).to_contain_text("frame_00003.png")
    calm.get_by_role("button", name="Next scene").click()
    expect(card).to_be_hidden()


def test_video_plays_and_changes_with_the_scene(open_page):
    page = open_page(reduced_motion="no-preference")
    page.locator("video").scroll_into_view_if_needed()
    page.wait_for_function(f"{VIDEO_TIME} > 0.1")
    page.get_by_role("button", name="Next scene").press("Enter")
    assert page.locator("video").get_attribute("src") == "scenes/0002/fly.mp4"
    page.locator("video").scroll_into_view_if_needed()
    page.wait_for_function(f"{VIDEO_TIME} > 0.1")


def test_video_stands_still_with_reduced_motion(calm):
    calm.wait_for_function("document.querySelector('video').readyState >= 2")
    calm.get_by_role("button", name="Next scene").click()
    calm.wait_for_function("document.querySelector('video').readyState >= 2")
    assert calm.evaluate("document.querySelector('video').paused")


def test_keyboard_goes_through_the_table_in_order(calm):
    calm.get_by_label("Filter by name").focus()
    seen = []
    for _ in range(11):
        calm.keyboard.press("Tab")
        seen.append(calm.evaluate("document.activeElement.ariaLabel ?? document.activeElement.innerText.trim()"))
    assert seen[0] == "Table of scenes"
    assert seen[1:4] == ["Scene", "PSNR", "SSIM"]
    assert seen[9:] == ["kitchen", "garden"]


def test_hostile_names_stay_text(calm):
    assert EVIL in listed(calm)
    calm.get_by_role("button", name=EVIL).last.click()
    assert chosen(calm) == EVIL


@pytest.mark.parametrize("width", [320, 390, 768])
def test_nothing_scrolls_sideways(open_page, width):
    page = open_page(width)
    for _ in NAMES:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.get_by_role("button", name="Next scene").click()


def test_dark_and_light_differ(open_page):
    colours = {
        scheme: open_page(color_scheme=scheme).evaluate("getComputedStyle(document.body).backgroundColor")
        for scheme in ("light", "dark")
    }
    assert colours["light"] != colours["dark"]


def test_small_results_open_without_complaints(browse, tmp_path):
    views = '[{"index": 2, "psnr": 20, "ssim": 0.5, "lpips": null}]'
    scene = f'{{"name": "room", "psnr": 20, "ssim": 0.5, "lpips": null, "views": {views}}}'
    (tmp_path / "results.json").write_text(f'{{"summary": {{"psnr": 20, "scenes": 1}}, "scenes": [{scene}]}}')
    page = browse(write_evaluation_page(tmp_path).as_uri())
    assert chosen(page) == "room"
    expect(page.locator("[data-view-scores]")).to_have_text("20.00 dB · SSIM 0.500")


def test_no_scenes_open_without_complaints(browse, tmp_path):
    (tmp_path / "results.json").write_text('{"summary": {"scenes": 0}, "scenes": []}')
    page = browse(write_evaluation_page(tmp_path).as_uri())
    expect(page.locator("#scene")).to_be_hidden()


def test_scenes_without_cameras_or_pictures_among_others(browse, tmp_path, make_evaluation):
    content = make_evaluation(tmp_path, scenes=2)
    content["scenes"][1] |= {"cameras": None, "fly_through": None, "context": []}
    (tmp_path / "results.json").write_text(json.dumps(content))
    for path in (tmp_path / "scenes/0001").iterdir():
        path.unlink()
    page = browse(write_evaluation_page(tmp_path).as_uri(), reduced_motion="reduce")
    page.get_by_role("button", name="scene 001").last.click()
    expect(page.locator("canvas")).to_be_hidden()
    expect(page.locator("video")).to_be_hidden()
    expect(page.locator("#scene .compare")).to_be_hidden()
    page.get_by_role("button", name="scene 000").last.click()
    expect(page.locator("canvas")).to_be_visible()
    expect(page.locator("#scene .compare")).to_be_visible()


def test_many_scenes_load_fast(browse, tmp_path, make_evaluation):
    make_evaluation(tmp_path, scenes=140, video=False)
    url = write_evaluation_page(tmp_path).as_uri()
    start = time.monotonic()
    page = browse(url)
    assert page.locator("tbody tr[data-scene]").count() == 140
    assert time.monotonic() - start < 8, "0.4 s on a free machine"


@pytest.fixture
def comparison(browse, tmp_path, make_evaluation):
    folders = [tmp_path / "a", tmp_path / "b #2"]
    for folder in folders:
        folder.mkdir()
        make_evaluation(folder, names=NAMES, title=folder.name)
    write_comparison_page(tmp_path / "comparison.html", folders)
    return functools.partial(browse, (tmp_path / "comparison.html").as_uri())


def test_runs_lie_beside_the_truth(comparison):
    page = comparison()
    page.get_by_role("combobox", name="Scene").select_option(EVIL)
    page.get_by_role("combobox", name="View").select_option("frame_00005.png")
    shown = page.locator("[data-truth] img, [data-render] img:last-child")
    assert [image.get_attribute("src") for image in shown.all()] == [
        "a/scenes/0003/005.webp",
        "a/scenes/0003/005-render.webp",
        "b%20%232/scenes/0003/005-render.webp",
    ]
    for image in shown.all():
        image.evaluate("image => image.decode()")
    page.get_by_role("button", name="Next scene").press("Enter")
    expect(page.get_by_role("status")).to_have_text("ä 東京 #1 50%, frame_00002.png")
    page.get_by_role("radio", name="Errors").check()
    assert shown.last.evaluate("image => getComputedStyle(image).mixBlendMode") == "difference"


@pytest.mark.parametrize("width", [320, 390, 768])
def test_comparison_does_not_scroll_sideways(comparison, width):
    page = comparison(width, color_scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
