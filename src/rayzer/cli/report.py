"""`rayzer report`: pages and tables about what `rayzer evaluate` found."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from rayzer.cli.data import PATH, overwrite_option
from rayzer.errors import InputError

DEFAULT_PAGE = Path("comparison.html")


@click.command(
    short_help="Write pages and tables about evaluations.", epilog="Example: rayzer report runs/a runs/b --markdown"
)
@click.argument("folders", nargs=-1, required=True, type=PATH, metavar="OUT [OUT2 ...]")
@click.option("-o", "--output", type=PATH, help=f"Page that compares several runs.  [default: {DEFAULT_PAGE}]")
@click.option("--markdown", "table", flag_value="markdown", help="Print a Markdown table instead.")
@click.option("--latex", "table", flag_value="latex", help="Print a LaTeX table (booktabs) instead.")
@click.option("--csv", "table", flag_value="csv", help="Print comma-separated values instead.")
@click.option("--scenes", is_flag=True, help="With --csv: a line a scene, of one run.")
@overwrite_option
def report(folders: tuple[Path, ...], output: Path | None, table: str | None, scenes: bool, overwrite: bool) -> None:
    """Write the page of an evaluation again, or compare several.

    Each OUT is a folder with results.json of rayzer evaluate. One gets a new index.html; of several a page that
    compares them is written, the first being what the others are compared with. --markdown, --latex and --csv print
    a table and write nothing.
    """
    if scenes and (table != "csv" or len(folders) > 1):
        raise InputError("--scenes: goes with --csv and one folder")
    if output is not None and (table or len(folders) == 1):
        raise InputError(f"--output {output}: only for a page that compares several folders; leave it out")
    if table:
        _print_table(folders, table, scenes)
    elif len(folders) == 1:
        _write_page(folders[0], overwrite)
    else:
        _write_comparison(folders, output or DEFAULT_PAGE, overwrite)


def _print_table(folders: tuple[Path, ...], table: str, scenes: bool) -> None:
    from rayzer.report import tables
    from rayzer.report.read_results import load_results

    runs = [load_results(folder) for folder in folders]
    if scenes:
        sys.stdout.write(tables.csv_scenes(runs[0]))
        return
    write = {"markdown": tables.markdown, "latex": tables.latex, "csv": tables.csv_runs}[table]
    sys.stdout.write(write(runs, tables.run_names(runs, folders)))


def _write_page(folder: Path, overwrite: bool) -> None:
    from rayzer.report.evaluation_page import write_evaluation_page

    print(f"Wrote {write_evaluation_page(folder, overwrite)}")


def _write_comparison(folders: tuple[Path, ...], output: Path, overwrite: bool) -> None:
    from rayzer.report.comparison_page import write_comparison_page

    write_comparison_page(output, folders, overwrite)
    print(f"Wrote {output}")
