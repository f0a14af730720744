"""How factors are named: `('PctChg', 100)`, `PctChg:100`, and the column `PctChg_100`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field

from bmacdb.errors import UsageError

__all__ = ["Call", "Value", "check_identifier", "check_name", "parse_call", "spell"]

Value = int | float | str

_IDENTIFIER = re.compile(r"[^\W\d]\w{0,62}")
# As modules of the community's are called: `Ao (1)`, `Z-Cci`, `7_Day`. No quote, no dot, no slash.
_NAME = re.compile(r"\w[\w+() \-]{0,61}")
# Letters, digits and what separates several parameters. No quote and no backslash: names reach SQL.
_PARAMETER = re.compile(r"[\w.,:;=+ \-]{0,120}")


def check_identifier(name: str, what: str) -> str:
    """`name` itself. Raises UsageError when it is no plain identifier (names reach SQL and imports)."""
    if not isinstance(name, str) or not _IDENTIFIER.fullmatch(name):
        raise UsageError(
            f"{what} {name!r} is not a plain name: use letters, digits and _ only, and start with a letter."
        )
    return name


def check_name(name: object) -> str:
    """`name` itself. Raises UsageError when no factor can be called so."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UsageError(f"factor name {name!r} is not a plain name: letters, digits, spaces and _ + - ( ) only.")
    return name


@dataclass(frozen=True, slots=True)
class Call:
    """A factor with its parameter, as the user gave it. `param` is None where nothing was given.

    `parts`: the parameters when they were given as a list or tuple; `param` is then a text.
    """

    name: str
    param: Value | None = None
    parts: Sequence[Value] | None = field(default=None, compare=False)

    @property
    def given(self) -> Value | Sequence[Value] | None:
        """The parameter as it was given; a list is a new one each time."""
        return self.param if self.parts is None else copy(self.parts)

    @property
    def column(self) -> str:
        """`PctChg_100`, or `PctChg` without a parameter."""
        return self.name if self.param is None else f"{self.name}_{self.param}"

    def __str__(self) -> str:
        return spell(self)


def spell(call: Call) -> str:
    """`PctChg:100`, as `parse_call` takes it."""
    return call.name if call.param is None else f"{call.name}:{call.param}"


def _number(text: str) -> Value:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def parse_call(given: object) -> Call:
    """A call from `('PctChg', 100)`, `('Macd', '12,26,9')`, `('Macd', (12, 26, 9))`, `'PctChg:100'` or `'PctChg'`.

    Raises UsageError for anything else, and for a name or parameter that could not be a column.
    """
    name: object
    param: object = None
    parts: Sequence[Value] | None = None
    match given:
        case Call():
            name, param = given.name, given.param
        case str():
            name, colon, text = given.partition(":")
            param = _number(text.strip()) if colon else None
        case Sequence() if len(given) == 1:
            name = given[0]
        case Sequence() if len(given) == 2:
            name, param = given
        case _:
            raise UsageError(f"factor {given!r} is not of the form ('PctChg', 100) or 'PctChg:100'.")
    if isinstance(param, Sequence) and not isinstance(param, str):
        parts, param = param, ",".join(str(part) for part in param)
    if isinstance(param, bool) or not (param is None or isinstance(param, int | float | str)):
        if type(param).__module__ == "numpy" and hasattr(param, "item"):  # np.int64 of somebody's grid of parameters
            return parse_call((name, param.item()))
        raise UsageError(f"factor {name}: parameter {param!r} is not a number or a text.")
    if isinstance(param, str) and not _PARAMETER.fullmatch(param):
        raise UsageError(
            f"factor {name}: parameter {param!r} is refused: letters, digits, spaces and , . : ; = + - _ only, "
            "as it becomes part of a column's name."
        )
    return Call(check_name(name), param, parts)
