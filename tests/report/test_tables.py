import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest

from rayzer.report.results import Poses, Results, SceneResult, Scores, Summary
from rayzer.report.tables import csv_runs, csv_scenes, latex, markdown, run_names

A = Results("a", Summary(Scores(25.004, 0.8, 0.2), 2), [], controls={"copy_nearest": Scores(15.0)})
B = Results("b_1 & 50% {x} | *y* \\ <z>", Summary(Scores(25.0, 0.9, None), 2), [], not_computed={"lpips": "no weights"})


def test_markdown_marks_the_best():
    lines = markdown([A, B], ["a", B.title]).splitlines()
    assert lines[0] == "| Run | PSNR ↑ | SSIM ↑ | LPIPS ↓ | Scenes | Copy nearest PSNR |"
    assert lines[1] == "|:---|---:|---:|---:|---:|---:|"
    assert lines[2] == "| a | 25.00 | 0.800 | 0.200 | 2 | 15.00 |", "equal as shown, and alone: no best"
    assert lines[3] == r"| b\_1 \& 50% \{x\} \| \*y\* \\ \<z\> | 25.00 | **0.900** | – | 2 | – |"
    assert lines[5].startswith("LPIPS of b")
    assert lines[5].endswith("was not computed: no weights.")


def test_lower_lpips_and_equal_values_are_best():
    runs = [replace(A, summary=Summary(Scores(20.0, 0.5, lpips), 1)) for lpips in (0.2, 0.1, 0.1001)]
    cells = [line.split(" | ")[3] for line in markdown(runs, ["a", "b", "c"]).splitlines()[2:5]]
    assert cells == ["0.200", "**0.100**", "**0.100**"]


def test_one_run_has_no_best():
    assert "**" not in markdown([A], ["a"])
    assert "textbf" not in latex([A], ["a"])


def test_latex_escapes_names():
    text = latex([A, B], ["a", B.title])
    assert r"\begin{tabular}{lrrrrr}" in text
    assert (
        r"b\_1 \& 50\% \{x\} \textbar{} *y* \textbackslash{} \textless{}z\textgreater{} & 25.00 & \textbf{0.900}"
        in text
    )
    assert r"PSNR $\uparrow$" in text
    assert text.index(r"\toprule") < text.index(r"\midrule") < text.index(r"\bottomrule")
    assert text.rstrip().splitlines()[-1].startswith("% LPIPS of")


def test_latex_names_cannot_break_out():
    assert latex([A], ["[a]"]).splitlines()[5].startswith("{[}a] & ")
    text = latex([A], ["a\n\\input{/etc/passwd}%~^#$"])
    assert r"a \textbackslash{}input\{/etc/passwd\}\%\textasciitilde{}\textasciicircum{}\#\$" in text


def test_csv_has_all_digits_and_empty_cells():
    rows = list(csv.DictReader(io.StringIO(csv_runs([A, B], ["a", "=1+1"]))))
    assert rows[0]["psnr"] == "25.004"
    assert rows[1]["lpips"] == rows[1]["copy_nearest_psnr"] == ""
    assert rows[1]["run"] == "'=1+1"


def test_csv_of_scenes():
    scene = SceneResult(
        'x, "y"\nz', Scores(20.5), [], controls={"copy_nearest": Scores(10)}, poses=Poses(rra={"15": 0.5}, ate=0.25)
    )
    row = next(csv.DictReader(io.StringIO(csv_scenes(replace(A, scenes=[scene])))))
    assert (row["scene"], row["psnr"], row["copy_nearest_psnr"]) == ('x, "y"\nz', "20.5", "10")
    assert (row["rra_15"], row["ate"]) == ("0.5", "0.25")
    assert row.keys().isdisjoint({"ssim", "auc_30", "no_leak_psnr"})


def test_columns_without_figures_are_left_out():
    bare = Results("a", Summary(Scores(25.0, 0.8), 1), [])
    assert markdown([bare], ["a"]).splitlines()[0] == "| Run | PSNR ↑ | SSIM ↑ | Scenes |"


def test_a_score_that_was_not_computed_keeps_its_column_and_reason():
    text = markdown([B], ["b"])
    assert "LPIPS" in text.splitlines()[0]
    assert "no weights" in text
    assert " 0 |" not in text


@pytest.mark.parametrize(
    ("titles", "folders", "names"),
    [
        (["x", "y"], ["a", "b"], ["x", "y"]),
        (["x", "x"], ["runs/a", "runs/b"], ["x (a)", "x (b)"]),
        (["x", "x"], ["a/out", "b/out"], ["x (a/out)", "x (b/out)"]),
    ],
)
def test_runs_are_told_apart(titles, folders, names):
    runs = [replace(A, title=title) for title in titles]
    assert run_names(runs, [Path(folder) for folder in folders]) == names
