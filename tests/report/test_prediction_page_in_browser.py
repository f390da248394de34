import functools
import hashlib

import pytest

from rayzer.report.parts import Notice
from rayzer.report.prediction_page import write_prediction_page

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.browser

EVIL = "photo <script>alert(1)</script> was left out"
BARE = "canvas { outline: none !important } .plot-buttons { visibility: hidden }"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def url(folder, make_page):
    names = ["a b.png", "50%.png", "#1.png", "ä 東京.png", "q?.png", f"{'long ' * 40}.png"]
    page = make_page(folder, names=names, notices=[Notice("warning", EVIL)] * 6)
    write_prediction_page(folder / "index.html", page)
    return (folder / "index.html").as_uri()


@pytest.fixture
def open_page(browse, url):
    return functools.partial(browse, url)


def look(canvas):
    """A digest of what is painted, after pending frames and without the focus ring and the buttons."""
    canvas.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return hashlib.sha256(canvas.screenshot(style=BARE)).hexdigest()


@pytest.fixture
def canvas(open_page):
    page = open_page(reduced_motion="reduce")
    canvas = page.locator("canvas")
    canvas.scroll_into_view_if_needed()
    return canvas


def test_every_picture_loads_and_keeps_its_place(open_page):
    page = open_page()
    before = page.evaluate("document.documentElement.scrollHeight")
    page.evaluate(
        """async () => {
          for (const image of document.querySelectorAll("main img[width]")) {
            image.scrollIntoView({ behavior: "instant" });
            await image.decode();
          }
        }"""
    )
    assert page.evaluate("document.documentElement.scrollHeight") == before


def test_video_plays(open_page):
    page = open_page()
    page.wait_for_function("document.querySelector('video').readyState >= 2")
    assert page.evaluate("document.querySelector('video').duration") == pytest.approx(1.0, abs=0.05)
    page.wait_for_function("document.querySelector('video').currentTime > 0.1")


def test_video_stands_still_with_reduced_motion(open_page):
    page = open_page(reduced_motion="reduce")
    page.wait_for_function("document.querySelector('video').readyState >= 2")
    assert page.evaluate("document.querySelector('video').paused")


def test_slider_moves_by_keyboard_and_by_pointer(open_page):
    page = open_page()
    slider = page.locator("input[type=range]").first
    border = page.locator(".compare-handle").first
    before = border.bounding_box()["x"]
    slider.focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    assert slider.input_value() == "60"
    assert slider.get_attribute("aria-valuetext") == "60 % Photo, 40 % Render"
    box = slider.bounding_box()
    assert border.bounding_box()["x"] - before == pytest.approx(box["width"] / 10, abs=1)
    slider.click(position={"x": box["width"] / 4, "y": box["height"] / 2})
    assert float(slider.input_value()) == pytest.approx(25, abs=1)


def test_difference_is_a_switch(open_page):
    page = open_page()
    blend = "getComputedStyle(document.querySelector('.compare-first')).mixBlendMode"
    assert page.evaluate(blend) == "normal"
    page.get_by_role("radio", name="Slider").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate(blend) == "difference"


def test_cameras_are_drawn(canvas):
    drawn = look(canvas)
    blank = "element => element.getContext('2d').clearRect(0, 0, element.width, element.height)"
    canvas.evaluate(blank)
    assert look(canvas) != drawn


def test_plot_turns_by_drag_keys_and_buttons(canvas):
    page, views = canvas.page, [look(canvas)]
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 250)
    page.mouse.down()
    page.mouse.move(box["x"] + 180, box["y"] + 230, steps=4)
    page.mouse.up()
    page.mouse.move(0, 0)
    views.append(look(canvas))
    for key in ("ArrowLeft", "ArrowUp", "+"):
        page.keyboard.press(key)
        views.append(look(canvas))
    page.mouse.move(box["x"] + 5, box["y"] + 250)
    page.mouse.wheel(0, 200)
    views.append(look(canvas))
    assert len(set(views)) == len(views)
    page.get_by_role("button", name="Reset the view").click()
    canvas.focus()
    page.mouse.move(0, 0)
    again = look(canvas)
    page.keyboard.press("Home")
    assert look(canvas) == again


def test_wheel_scrolls_the_page_until_the_plot_is_clicked(canvas):
    page, before = canvas.page, canvas.page.evaluate("scrollY")
    canvas.hover(position={"x": 5, "y": 250})
    page.mouse.wheel(0, 200)
    page.wait_for_function(f"scrollY > {before}")


def test_cameras_are_named_by_pointer_and_keyboard(canvas):
    page, card = canvas.page, canvas.page.locator("[data-card]")
    page.get_by_role("button", name="Next camera").press("Enter")
    expect(card).to_contain_text("a b.png")
    page.get_by_role("button", name="Previous camera").press("Enter")
    expect(card).to_contain_text("Held out, 25.85 dB")
    expect(page.get_by_role("status")).to_contain_text("Held out, 25.85 dB")
    canvas.press("Escape")
    expect(card).to_be_hidden()
    page.get_by_role("button", name="Show the camera of ä 東京.png").click()
    expect(card).to_contain_text("ä 東京.png")


def test_hovering_names_a_camera(canvas):
    box, card = canvas.bounding_box(), canvas.page.locator("[data-card]")
    for y in range(60, int(box["height"]), 15):
        for x in range(20, int(box["width"]), 30):
            canvas.page.mouse.move(box["x"] + x, box["y"] + y)
            if card.is_visible():
                return
    pytest.fail("no camera under any point of the plot")


def test_legend_hides_kinds(canvas):
    before = look(canvas)
    canvas.page.get_by_role("checkbox", name="Held out").uncheck()
    assert look(canvas) != before


@pytest.mark.parametrize("width", [320, 390, 768])
def test_nothing_scrolls_sideways(open_page, width):
    page = open_page(width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_notices_stay_text(open_page):
    page = open_page()
    assert EVIL in page.locator(".notice").first.inner_text()


def test_dark_and_light_differ(open_page):
    colours = {
        scheme: open_page(color_scheme=scheme).evaluate("getComputedStyle(document.body).backgroundColor")
        for scheme in ("light", "dark")
    }
    assert colours["light"] != colours["dark"]


def test_touch_turns_the_plot(open_page):
    page = open_page(390, has_touch=True, is_mobile=True, reduced_motion="reduce")
    canvas = page.locator("canvas")
    canvas.scroll_into_view_if_needed()
    before = look(canvas)
    canvas.evaluate(
        """element => {
          const fire = (type, id, x, y) => element.dispatchEvent(new PointerEvent(type, {
            pointerId: id, clientX: x, clientY: y, bubbles: true, pointerType: "touch" }));
          element.setPointerCapture = () => {};
          const { left, top } = element.getBoundingClientRect();
          fire("pointerdown", 2, left + 50, top + 100);
          fire("pointerdown", 3, left + 100, top + 100);
          fire("pointermove", 3, left + 200, top + 100);
        }"""
    )
    assert look(canvas) != before
