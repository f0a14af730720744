"""Values as SQL text, for the one road on which nothing can be bound: a query sent to a live recorder.

Placeholders are found by a scanner that knows strings, quoted names, dollar quotes and comments; each value becomes
a typed literal, so a text can never be read as anything but a text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

from bmacdb.errors import UsageError

__all__ = ["bind", "literal"]

_SKIPPED = r"""
    (?P<skip>
        [eE]'(?:[^'\\]|\\.|'')*'            # E'it\'s'
      | '(?:[^']|'')*'
      | "(?:[^"]|"")*"
      | --[^\n]*
      | (?<![\w$])\$(?P<tag>[A-Za-z_]\w*)?\$.*?\$(?P=tag)\$
      | (?<![\w$])\$\$.*?\$\$
    )
"""
_TOKEN = re.compile(
    _SKIPPED + r"|(?P<comment>/\*)|(?P<mark>\?)|(?<![\w$])\$(?:(?P<number>\d+)|(?P<name>[A-Za-z_]\w*))",
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_HUGE = 2**127


def literal(value: object) -> str:
    """`value` as a typed SQL literal. Naive datetimes are UTC.

    Takes None, bool, int, float (with nan and the infinities), Decimal, str, bytes, datetime, date, time, timedelta,
    lists and tuples of these, dicts (as a STRUCT), and the scalars of numpy and pandas. Raises UsageError for others.
    """
    if type(value).__module__.partition(".")[0] == "numpy" and hasattr(value, "item"):
        value = value.item()
    match value:
        case None:
            return "NULL"
        case bool():
            return "true" if value else "false"
        case int():
            if not -_HUGE <= value < _HUGE:
                raise UsageError(f"parameter {value} does not fit into 128 bits: pass it as text or as a Decimal.")
            return f"({int(value)})"
        case float():
            if not math.isfinite(value):
                return f"CAST('{float(value)!r}' AS DOUBLE)"
            text = repr(float(value))
            return f"({text if 'e' in text else text + 'e0'})"  # without an exponent it would be a DECIMAL
        case Decimal():
            return _decimal(value)
        case str():
            return _text(value)
        case bytes() | bytearray():
            return "'" + "".join(f"\\x{byte:02X}" for byte in bytes(value)) + "'::BLOB"
        case datetime():
            if value != value:  # pandas' NaT is a datetime of its own kind
                return "NULL"
            moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
            return f"TIMESTAMPTZ '{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond:06d}+00'"
        case date():
            return f"DATE '{value.isoformat()}'"
        case time():
            return f"TIME '{value.replace(tzinfo=None).isoformat()}'"
        case timedelta():
            return f"to_microseconds({value // timedelta(microseconds=1)})"
        case list() | tuple() | set() | frozenset():
            return f"[{', '.join(map(literal, value))}]"
        case dict():
            return "{" + ", ".join(f"{_text(str(key))}: {literal(item)}" for key, item in value.items()) + "}"
        case _:
            raise UsageError(
                f"a parameter of type {type(value).__name__} ({value!r}) is not known to SQL: pass a number, "
                "a text, a date, a datetime, or a list of these."
            )


def _decimal(value: Decimal) -> str:
    if not value.is_finite():
        return f"CAST('{float(value)!r}' AS DOUBLE)"
    _, digits, exponent = value.as_tuple()
    scale = max(-int(exponent), 0)
    width = max(len(digits) + max(int(exponent), 0), scale + 1)
    if width > 38:
        raise UsageError(f"parameter {value} has more than the 38 digits of a DECIMAL: pass a float, or round it.")
    return f"CAST('{value:f}' AS DECIMAL({width}, {scale}))"


def _text(value: str) -> str:
    if "\0" in value:
        raise UsageError("a text parameter holds a zero character, which SQL text cannot carry: remove it.")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"a text parameter is no valid Unicode ({error.reason}): repair it first.") from error
    return "'" + value.replace("'", "''") + "'"


def bind(query: str, params: Sequence[object] | Mapping[str, object] | None) -> str:
    """`query` with its placeholders replaced by literals.

    A sequence serves `?` in order, or `$1`, `$2`; a mapping serves `$name`. Without parameters (None) the query is
    left as it is. Raises UsageError for a placeholder without a value and for a value that nothing asks for.
    """
    if params is None:
        return query
    named = params if isinstance(params, Mapping) else {}
    listed = [] if isinstance(params, Mapping) else list(params)
    if isinstance(params, str | bytes):
        raise UsageError(f"parameters {params!r} are one text: pass a list of values, as [{params!r}].")
    used: set[str | int] = set()
    parts: list[str] = []
    marks = 0
    place = 0
    while token := _TOKEN.search(query, place):
        parts.append(query[place : token.start()])
        place = token.end()
        if token["skip"] is not None:
            parts.append(token["skip"])
        elif token["comment"] is not None:
            place = _end_of_comment(query, token.start())
            parts.append(query[token.start() : place])
        elif token["name"] is not None:
            if token["name"] not in named:
                raise UsageError(f"the query asks for ${token['name']}, and the parameters have no such name.")
            used.add(token["name"])
            parts.append(literal(named[token["name"]]))
        else:
            index = int(token["number"]) - 1 if token["number"] is not None else marks
            marks += token["mark"] is not None
            if not 0 <= index < len(listed):
                raise UsageError(f"the query asks for parameter {index + 1}, and {len(listed)} were given.")
            used.add(index)
            parts.append(literal(listed[index]))
    parts.append(query[place:])
    if spare := [str(key) for key in (named or range(len(listed))) if key not in used]:
        raise UsageError(f"the query asks for no parameter {', '.join(spare)}: remove it, or write its placeholder.")
    return "".join(parts)


def _end_of_comment(query: str, start: int) -> int:
    depth, place = 1, start + 2
    while depth and (edge := _COMMENT_EDGE.search(query, place)):
        depth += 1 if edge[0] == "/*" else -1
        place = edge.end()
    return len(query) if depth else place
