"""`bmacdb history verify`, `gaps`, `fill` and `split`."""

from __future__ import annotations

import typer

__all__ = ["add"]


def add(history: typer.Typer) -> None:
    """Add the commands."""
