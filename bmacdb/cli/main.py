"""The `bmacdb` command: its verbs, and how errors become one message and an exit status."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from bmacdb import __version__
from bmacdb.errors import BmacdbError, UsageError

__all__ = ["build", "main"]

VERBS = {
    "run": "Record a market until stopped.",
    "receive": "Receive a market for several recorders.",
    "record": "Record from a receiver.",
    "status": "Is the recorder alive, on time and complete?",
    "sql": "Query the database, or open a DuckDB shell on it.",
    "factors": "Factors of the whole market at a run time.",
    "history": "Download, import, verify and repair years of candles.",
    "resample": "Candles of a longer interval, at every offset.",
    "export": "Files for other programs: parquet, csv, the predecessor's.",
    "alerts": "Where alerts go.",
    "doctor": "Find problems of this machine and its settings.",
    "demo": "See it work in under a minute, without the exchange.",
    "simulate": "Run a stand-in exchange on this machine.",
}
"""Commands, and their line in `bmacdb --help`. Each is a module of this package with `register(app)`."""

_PLAIN: dict[str, Any] = {
    "add_completion": False,
    "pretty_exceptions_enable": False,  # a bug shows a plain traceback, without the values of local variables (tokens)
    "rich_markup_mode": None,
}


class _Verbs(TyperGroup):
    """Imports a command when it is used: `bmacdb --help` needs none of them."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        # For an unknown name all are imported: typer looks for the nearest among those that are there.
        for verb in [cmd_name] if cmd_name in VERBS else VERBS:
            if verb not in self.commands:
                one = typer.Typer(**_PLAIN)
                one.callback()(lambda: None)  # without it, typer makes an app of one command that command
                importlib.import_module(f"bmacdb.cli.{verb}").register(one)
                self.commands.update(typer.main.get_group(one).commands)
        return self.commands.get(cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bmacdb {__version__}")
        raise typer.Exit


def build() -> typer.Typer:
    """The application with every command."""
    app = typer.Typer(
        **_PLAIN,
        cls=_Verbs,
        name="bmacdb",
        no_args_is_help=True,
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
