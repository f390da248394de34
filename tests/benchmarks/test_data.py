import json

import pytest
from PIL import Image

from rayzer.benchmarks import data as benchmark
from rayzer.data.images import Preprocessing


@pytest.fixture
def small(monkeypatch):
    values = {"WIDTH_PX": 96, "HEIGHT_PX": 64, "PICTURES": 3, "FRAMES": 26, "SCENES": 2, "ROUND_S": 0.01}
    for name, value in values.items():
        monkeypatch.setattr(benchmark, name, value)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(26):
        Image.new("RGB", (32, 32)).save(folder / f"{number}.png")
    return folder


def test_all_three_kinds_of_scenes_are_measured(small, tmp_path):
    size = Preprocessing(64, 16)
    rates = [benchmark.measure(name, refs, size, 0, 0.01) for name, refs in benchmark.made_up_scenes(tmp_path, size)]
    assert [rate.name for rate in rates] == ["loose JPEG 96x64", "loose PNG 96x64", "packed 64x64"]
    assert all(rate.images_per_s == 24 * rate.samples_per_s > 0 for rate in rates)
    assert len(benchmark.table(rates).splitlines()) == 4


def test_scenes_of_the_user(run, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "ROUNDS", 1)
    code, printed, _ = run("bench", "data", "--scenes", photos, "--workers", 0, "--json", tmp_path / "rates.json")
    assert code == 0
    assert printed.splitlines()[1].startswith("photos")
    (result,) = json.loads((tmp_path / "rates.json").read_text())["results"]
    assert result["workers"] == 0
    assert result["samples_per_s"] > 0


def test_scenes_that_are_too_short(run, photos):
    (photos / "0.png").unlink()
    (photos / "1.png").unlink()
    (photos / "2.png").unlink()
    code, _, complaint = run("bench", "data", "--scenes", photos, "--workers", 0)
    assert code == 2
    assert "has 23 usable frames" in complaint
    assert run("bench", "data", "--scenes", photos, "--json", "no/such/folder.json")[0] == 2
    code, _, complaint = run("bench", "data", "--scenes", photos, "--json", photos)
    assert (code, f"{photos}: is a folder" in complaint) == (2, True)
