"""`rayzer data ...`: look at scenes, convert, list and pack them, make procedural ones."""

from __future__ import annotations

from pathlib import Path

import click

PATH = click.Path(path_type=Path)

format_option = click.option("--format", default="", help="Take the input's format at its word.  [default: recognised]")
outside_option = click.option("--allow-outside", is_flag=True, help="Follow paths that leave a scene's folder.")
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace results of an earlier run.")


@click.group()
def data() -> None:
    """Look at scenes, convert, list and pack them, make procedural ones."""
