import csv
import io

import pytest


@pytest.fixture
def folders(tmp_path, make_evaluation):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        make_evaluation(tmp_path / name, scenes=2, title=f"run {name}")
    return tmp_path / "a", tmp_path / "b"


def test_one_folder_gets_its_page_again(run, folders):
    assert run("report", folders[0]) == (0, f"Wrote {folders[0] / 'index.html'}\n", "")
    assert run("report", folders[0])[0] == 0


def test_several_are_compared_in_the_working_directory(run, folders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("report", "a", "b") == (0, "Wrote comparison.html\n", "")
    code, out, err = run("report", "a", "b")
    assert (code, out) == (2, "")
    assert err == "rayzer: comparison.html: exists; choose another name or add --overwrite\n"
    assert run("report", "a", "b", "--overwrite")[0] == 0
    assert run("report", "a", "b", "-o", "other.html")[0] == 0


@pytest.mark.parametrize(
    ("option", "start"), [("--markdown", "| Run |"), ("--latex", "% \\usepackage"), ("--csv", "run,")]
)
def test_tables_go_to_stdout_and_write_nothing(run, folders, option, start):
    code, out, err = run("report", *folders, option)
    assert (code, err) == (0, "")
    assert out.startswith(start)
    assert "run a" in out
    assert "run b" in out
    assert not (folders[0] / "index.html").exists()


def test_rows_of_scenes(run, folders):
    rows = list(csv.DictReader(io.StringIO(run("report", folders[0], "--csv", "--scenes")[1])))
    assert [row["scene"] for row in rows] == ["scene 000", "scene 001"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["absent"], "absent: is no folder; name the output folder of rayzer evaluate"),
        (["a", "b", "--scenes", "--csv"], "--scenes: goes with --csv and one folder"),
        (["a", "--scenes"], "--scenes: goes with --csv and one folder"),
        (["a", "-o", "x.html"], "--output x.html: only for a page that compares several folders; leave it out"),
        (["a", "b", "-o", "a"], "a: is a folder; give the name of a file"),
        (["a", "b", "-o", "absent/x.html"], "absent/x.html: cannot be written"),
    ],
)
def test_mistakes_are_one_line(run, folders, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    code, out, err = run("report", *words)
    assert (code, out) == (2, "")
    assert err.startswith(f"rayzer: {said}")
    assert err.count("\n") == 1
