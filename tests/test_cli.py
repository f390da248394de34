"""The command line itself: help, mistakes, conversion, and `python -m rayzer`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import rayzer
from rayzer import cli
from rayzer.model.weights import load_model

RECORDINGS = Path(__file__).parent / "recordings"


def test_help_names_every_command(run):
    code, out, _ = run("--help")
    assert code == 0
    for name in cli.app.commands:
        assert name in out


@pytest.mark.parametrize("name", list(cli.app.commands))
def test_every_option_is_explained(name):
    for parameter in cli.app.commands[name].params:
        if parameter.param_type_name == "option":
            assert parameter.help


def test_without_a_command_the_help_is_shown(run):
    code, out, _ = run()
    assert code == 0
    assert "predict" in out


@pytest.mark.parametrize("words", [["predit"], ["predict"], ["--version-of-nothing"], ["convert", "a"]])
def test_mistakes_are_one_line(run, words):
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert len(err.strip().splitlines()) == 1


def test_info(run):
    code, out, _ = run("info")
    assert code == 0
    assert rayzer.__version__ in out


def test_module_and_exit_code():
    done = subprocess.run(
        [sys.executable, "-m", "rayzer", "convert", "nothing.pt", "there"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("rayzer: nothing.pt: ")
    assert len(done.stderr.splitlines()) == 1


def test_convert_there_and_back(run, tmp_path):
    import torch

    pt, yaml = RECORDINGS / "rayzer_tiny.pt", RECORDINGS / "rayzer_tiny.yaml"
    assert run("convert", pt, tmp_path / "ours", "--config", yaml)[0] == 0
    assert run("convert", tmp_path / "ours", tmp_path / "back.pt")[0] == 0
    there, back = (torch.load(path, weights_only=True)["model"] for path in (pt, tmp_path / "back.pt"))
    assert there.keys() == back.keys()
    assert all(torch.equal(there[name], back[name]) for name in there)


def test_convert_does_not_overwrite(run, tmp_path):
    pt, yaml = RECORDINGS / "rayzer_tiny.pt", RECORDINGS / "rayzer_tiny.yaml"
    for name in ("ours", "theirs.pt"):
        words = ["convert", pt, tmp_path / name, "--config", yaml]
        assert run(*words)[0] == 0
        code, _, err = run(*words)
        assert code == 2
        assert "--overwrite" in err
        assert run(*words, "--overwrite")[0] == 0
    load_model(tmp_path / "ours")


def test_convert_names_the_keys_that_do_not_fit(run, tmp_path):
    pt, yaml = RECORDINGS / "rayzer_tiny.pt", RECORDINGS / "rayzer_options.yaml"
    code, _, err = run("convert", pt, tmp_path / "ours", "--config", yaml)
    assert code == 2
    assert "rayzer_tiny.pt" in err
    assert "q_norm" in err
    assert not (tmp_path / "ours").exists()


def test_names_of_files_do_not_steer_the_terminal(run, tmp_path):
    code, _, err = run("data", "inspect", tmp_path / "red \x1b[31m\x07\nname")
    assert code == 2
    (line,) = err.splitlines()
    assert line.isprintable()


def test_names_that_the_terminal_cannot_show(tmp_path):
    (tmp_path / "photos").mkdir()
    for number in range(2):
        Image.new("RGB", (32, 32)).save(tmp_path / f"photos/{number}.png")
    words = [sys.executable, "-m", "rayzer", "data", "convert", str(tmp_path / "photos"), str(tmp_path / "öut")]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii:strict"}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\xf6ut" in done.stdout
