"""What the README and the docs promise is there and runs."""

import re
import runpy
import shlex
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from PIL import Image

from rayzer import RayZerConfig, save_model
from rayzer.cli import app
from rayzer.data import formats
from rayzer.model.weights import build_model

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def code_blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def photos(folder, count, size=(80, 60)):
    folder.mkdir(parents=True)
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 255, (*size[::-1], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.jpg")


def test_python_snippet_runs(tmp_path, monkeypatch, capsys):
    """The snippet as it stands, on made-up photos and small untrained weights."""
    (snippet,) = code_blocks("README.md", "python")
    monkeypatch.chdir(tmp_path)
    config = RayZerConfig(width=64, camera_layers=1, scene_layers=1, renderer_layers=1, scene_tokens=16)
    save_model(build_model(config), "checkpoint")
    photos(tmp_path / "photos", 24)
    (tmp_path / "snippet.py").write_text(snippet)
    names = runpy.run_path(str(tmp_path / "snippet.py"))
    assert names["held_out"].shape == (1, 8, 3, 256, 256)
    assert names["fly_through"].shape == (1, 30, 3, 256, 256)
    assert torch.isfinite(names["fly_through"]).all()
    assert "tensor" in capsys.readouterr().out


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_into_pages_lead_somewhere(page):
    """GitHub's anchors: the heading in lower case without marks, spaces as hyphens."""
    for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text()):
        headings = re.findall(r"^#+ (.*)$", (page.parent / target if target else page).read_text(), re.MULTILINE)
        anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert anchor in anchors


def commands_in(page):
    return [line for block in code_blocks(page, "sh") for line in block.splitlines() if line.startswith("rayzer ")]


def parse(words, command=app):
    """Parse a command line as the program would, without running it; click raises what it would complain of."""
    if isinstance(command, click.Group):
        name, command, rest = command.resolve_command(click.Context(command), words[1:])
        parse([name, *rest], command)
    else:
        command.make_context(words[0], words[1:])


@pytest.mark.parametrize("line", [line for page in PAGES for line in commands_in(page)])
def test_commands_parse(line):
    parse(shlex.split(line, comments=True))


@pytest.mark.parametrize("line", ["rayzer data inpsect x", "rayzer data pack x", "rayzer data inspect x --alll"])
def test_commands_that_do_not_parse(line):
    with pytest.raises(click.UsageError):
        parse(shlex.split(line))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_sentences_exist(page):
    for group, name in re.findall(r"`rayzer (data|bench) ([a-z-]+)", page.read_text()):
        assert name in app.commands[group].commands


def test_every_data_command_is_in_the_guide():
    guide = (ROOT / "docs/data.md").read_text()
    for name in app.commands["data"].commands:
        assert f"rayzer data {name}" in guide


def test_every_format_is_in_the_guide():
    named = re.findall(r"^\| `([a-z0-9]+)` \|", (ROOT / "docs/data.md").read_text(), re.MULTILINE)
    assert set(named) == set(formats.FORMATS)


def test_loop_of_the_guide_runs(tmp_path, monkeypatch, run):
    loop, _ = code_blocks("docs/data.md", "python")
    photos(tmp_path / "scenes/a", 66, (32, 32))
    assert run("data", "pack", tmp_path / "scenes", tmp_path / "packed", "--workers", 1)[0] == 0
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop.py").write_text(
        loop.replace("(stream, range(100_000), workers=8", "(stream, range(1), workers=0")
    )
    batch = runpy.run_path(str(tmp_path / "loop.py"))["batch"]
    assert batch.images.shape == (8, 24, 3, 256, 256)
    assert batch.images.dtype == torch.float32


def test_format_of_the_guide_works(tmp_path, monkeypatch, run):
    """The one file that adds a format, as it stands: inspected, converted, packed; what is wrong is named."""
    _, source = code_blocks("docs/data.md", "python")
    (tmp_path / "robot.py").write_text(source)
    robot = runpy.run_path(str(tmp_path / "robot.py"))["Robot"]()
    monkeypatch.setattr(formats, "FORMATS", {robot.name: robot, **formats.FORMATS})
    photos(tmp_path / "walk", 3)
    lines = [f"{number}.jpg 70 70 40 30 1 0 0 {number} 0 1 0 0 0 0 1 0\n" for number in range(3)]
    trajectory = tmp_path / "walk/trajectory.txt"
    trajectory.write_text("".join(lines))
    code, out, _ = run("data", "inspect", tmp_path / "walk")
    assert code == 0
    assert "walk  robot" in out
    assert "Usable with poses and without." in out
    assert run("data", "convert", tmp_path / "walk", tmp_path / "colmap", "--to", "colmap")[0] == 0
    again = formats.read_scene(tmp_path / "colmap")
    np.testing.assert_allclose(again.frames[2].world_from_camera[:3, 3], [2, 0, 0], atol=1e-12)
    assert run("data", "pack", tmp_path / "walk", tmp_path / "packed", "--workers", 1)[0] == 0

    (tmp_path / "walk/1.jpg").unlink()
    trajectory.write_text("".join(lines).replace("1 0 0 2 ", "1 0 0 nan "))
    out = " ".join(run("data", "inspect", tmp_path / "walk")[1].split())
    assert "no picture for 1 of 3 frames" in out
    assert "no usable pose for 1 frame" in out
    trajectory.write_text("0.jpg 70 70\n")
    assert "line 1: expected a path and 16 numbers" in run("data", "pack", tmp_path / "walk", tmp_path / "p")[2]


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_example_makes_a_video(tmp_path):
    import av

    config = RayZerConfig(64, 64, 4, 2, width=64, camera_layers=1, scene_layers=1, renderer_layers=1, scene_tokens=16)
    save_model(build_model(config), tmp_path / "checkpoint")
    (tmp_path / "photos").mkdir()
    for number in range(6):
        Image.new("RGB", (80, 60), (40 * number, 90, 200)).save(tmp_path / f"photos/{number}.jpg")
    main = runpy.run_path(str(ROOT / "examples/orbit_video.py"))["main"]
    main(str(tmp_path / "photos"), str(tmp_path / "checkpoint"), str(tmp_path / "orbit.mp4"))
    with av.open(str(tmp_path / "orbit.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 60
