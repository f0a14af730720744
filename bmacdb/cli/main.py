"""The `bmacdb` command: its verbs, and how errors become one message and an exit status."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from bmacdb import __version__
from bmacdb.errors import BmacdbError, UsageError

__all__ = ["build", "main"]

VERBS = ("run", "resample", "export", "demo", "factors", "history", "alerts", "doctor", "simulate", "sql", "status")
"""Modules of this package with `register(app)`. Heavy imports happen inside their commands, not here."""


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bmacdb {__version__}")
        raise typer.Exit


def build() -> typer.Typer:
    """The application with every verb that exists."""
    app = typer.Typer(
        name="bmacdb",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,  # a bug shows a plain traceback, without the values of local variables (tokens)
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
        help="Record the Binance market into one DuckDB file that everything on the machine can read while it grows.",
    )

    @app.callback()
    def bmacdb(
        version: Annotated[
            bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
        ] = False,
    ) -> None:
        pass

    for verb in VERBS:
        importlib.import_module(f"bmacdb.cli.{verb}").register(app)
    return app


def _tell(error: BmacdbError) -> None:
    print(f"Error: {error}", file=sys.stderr, flush=True)


def _flush() -> None:
    """Write out what is left while an error can still be caught; a reader that has gone is no error of ours."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line (the process's own when None) and exit: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # cp936 and cp1252 consoles lack signs and symbols that may come
            stream.reconfigure(errors="backslashreplace")
    status: str | int | None = 0
    try:
        build()(None if arguments is None else list(arguments), prog_name="bmacdb")
    except SystemExit as exc:
        status = exc.code
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:
        status = 1
    except UsageError as exc:
        _tell(exc)
        status = 2
    except BmacdbError as exc:
        _tell(exc)
        status = 1
    _flush()
    raise SystemExit(status)


if __name__ == "__main__":
    main()
