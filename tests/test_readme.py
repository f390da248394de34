"""What the README and the docs promise is there and runs."""

import re
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rayzer import RayZerConfig, save_model
from rayzer.model.weights import build_model

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_python_snippet_runs(tmp_path, monkeypatch, capsys):
    """The snippet as it stands, on made-up photos and small untrained weights."""
    (snippet,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    config = RayZerConfig(width=64, camera_layers=1, scene_layers=1, renderer_layers=1, scene_tokens=16)
    save_model(build_model(config), "checkpoint")
    (tmp_path / "photos").mkdir()
    for number in range(24):
        pixels = np.random.default_rng(number).integers(0, 255, (60, 80, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"photos/{number}.jpg")
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


def test_commands_exist():
    """Every `rayzer SUBCOMMAND` and option in the README is one that the command line knows."""
    from rayzer.cli import app

    for line in re.findall(r"^rayzer (\S+)(.*)$", (ROOT / "README.md").read_text(), re.MULTILINE):
        command = app.commands[line[0]]
        known = {option for parameter in command.params for option in parameter.opts}
        assert set(re.findall(r"(?<=\s)--?[a-z][\w-]*", line[1].split("#")[0])) <= known


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
