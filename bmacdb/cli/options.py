"""Options of commands that are made from the settings, so that each is described once, in `bmacdb.settings`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from itertools import groupby
from typing import Annotated, Any, TypeVar, get_type_hints

import typer
from typer.core import TyperCommand

from bmacdb.settings import CHOICES, OPTIONS, shown_default
from bmacdb.sources import flag_of

__all__ = ["GroupedCommand", "settings_options"]

Command = TypeVar("Command", bound=Callable[..., None])


def _annotation(name: str) -> Any:
    """The type and option of a setting for typer. The values stay text: the settings check them, from any source."""
    option, flag, default = OPTIONS[name], flag_of(name), shown_default(name)
    switch = CHOICES.get(name) == ("true", "false")
    return Annotated[
        bool | None if switch else list[str] | None if option.repeat else str | None,
        typer.Option(
            f"{flag}/--no-{flag[2:]}" if switch else flag,
            metavar=option.metavar or None,
            help=option.help + (f" [default: {default}]" if default else ""),
            rich_help_panel=option.group,
            hidden=option.hidden,
        ),
    ]


def settings_options(*names: str) -> Callable[[Command], Command]:
    """Replace the `**flags` of a command with an option for each of these settings (all of them when none is named)."""

    def decorate(command: Command) -> Command:
        hints = get_type_hints(command, include_extras=True)
        own = [one for one in inspect.signature(command).parameters.values() if one.kind is not one.VAR_KEYWORD]
        made = {name: _annotation(name) for name in names or OPTIONS}
        parameters = [one.replace(annotation=hints[one.name]) for one in own]
        # The settings come after the positional argument and before the command's own options.
        first = sum(one.kind is one.POSITIONAL_OR_KEYWORD for one in own)
        parameters[first:first] = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=made[name])
            for name in made
        ]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {one.name: one.annotation for one in parameters}
        return command

    return decorate


class GroupedCommand(TyperCommand):
    """A command whose help shows its options by group (typer does so only in its coloured help)."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        found = [(getattr(one, "rich_help_panel", None), one.get_help_record(ctx)) for one in self.get_params(ctx)]
        for group, records in groupby(found, lambda one: one[0]):
            if rows := [record for _, record in records if record]:
                with formatter.section(group or ("Options" if rows[0][0].startswith("-") else "Arguments")):
                    formatter.write_dl(rows)
