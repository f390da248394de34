"""`rayzer bench ...`: measure speed on this machine."""

from __future__ import annotations

import click


@click.group()
def bench() -> None:
    """Measure speed on this machine."""
