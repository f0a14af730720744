"""Factors in SQL: a described expression over lists.

The head of a file describes it, one `-- key: text` a line; the rest is one expression, which means what it does in
DuckDB (`evaluate` computes it, and `lists` what that does not understand).

    -- Change of the close over n candles.
    -- formula: close(t) / close(t - n) - 1
    -- source: pandas.Series.pct_change
    -- params: n int >= 1 = 100
    -- lookback: $n + 1
    -- missing: position
    -- null: either of the two candles is missing
    close[pos] / close[pos - $n] - 1

Each candle column is a list, one element per bar of the grid, null where the candle is missing; `pos` is the
position of the bar that closed at the run time. `-- series x: …` makes a further list, element by element, from
expressions at `t` (`close[t] / close[t - 1] - 1`); `-- let x: …` names a value for the expression below it.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bmacdb.errors import UsageError
from bmacdb.factor.call import Call, Value, parse_call, spell

__all__ = [
    "CANDLE_COLUMNS",
    "FUNDING_COLUMNS",
    "OPEN_TIME",
    "Bound",
    "Parameter",
    "Template",
    "evaluate",
    "parse_template",
]

CANDLE_COLUMNS = (
    "open",
    "high",
    "low",
    "close",
    "volume",
    "quote_volume",
    "trade_num",
    "taker_buy_base_asset_volume",
    "taker_buy_quote_asset_volume",
)
FUNDING_COLUMNS = ("funding_rate", "funding_sum", "funding_count")
"""Of the fundings settled within a bar: the last, their sum, their number; null where there was none."""
OPEN_TIME = "open_time"
"""When a candle opened: milliseconds in a grid, a timestamp in UTC for DuckDB."""

_HEAD = re.compile(r"-- (?:(formula|source|kind|params|of|lookback|missing|null|series|let)(?: (\w+))?: )?(.*)")
_PARAMETER = re.compile(r"(\w+) (int|float|factor)(?: >= ([\d.]+))?(?: = ([\d.]+))?")
_WORD = re.compile(r"[A-Za-z_]\w*")
_KINDS: dict[str, Callable[[str], Value]] = {"int": int, "float": float, "factor": str}
_OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: its name, `int`, `float` or `factor`, its least value and its default."""

    name: str
    kind: str
    least: float | None = None
    default: Value | None = None

    def read(self, text: str, factor: str) -> Value:
        """The value of `text`. Raises UsageError for the wrong type or a value too small."""
        try:
            value = _KINDS[self.kind](text.strip())
        except ValueError:
            kind = {"int": "an integer", "float": "a number"}[self.kind]
            raise UsageError(f"factor {factor}: {self.name} is {text!r}, which is not {kind}.") from None
        if not isinstance(value, str) and not math.isfinite(value):
            raise UsageError(f"factor {factor}: {self.name} is {text!r}; it must be finite.")
        if self.least is not None and not isinstance(value, str) and value < self.least:
            raise UsageError(f"factor {factor}: {self.name} is {value}; it must be at least {self.least:g}.")
        return value

    def __str__(self) -> str:
        shown = f"{self.name}: {self.kind}"
        if self.least is not None:
            shown += f" >= {self.least:g}"
        return shown if self.default is None else f"{shown}, default {self.default}"


@dataclass(frozen=True, slots=True)
class Bound:
    """A template with its parameters put in: what the statement is built from.

    `lookback` is in bars, the one at the run time included. `whole`: null where any of them is missing. `listed`: it is
    computed by DuckDB over lists, and not on the grid.
    """

    call: Call
    template: Template
    values: Mapping[str, Value]
    lookback: int
    expression: str
    series: tuple[tuple[str, str], ...]
    lets: tuple[tuple[str, str], ...]
    of: Call | None
    listed: bool = False

    @property
    def whole(self) -> bool:
        return self.template.missing == "null"

    @property
    def columns(self) -> frozenset[str]:
        """The columns of candles and fundings that it is computed from."""
        texts = (self.expression, *(text for _, text in (*self.series, *self.lets)))
        words = (word for text in texts for word in _WORD.findall(text))
        return frozenset(words).intersection((*CANDLE_COLUMNS, *FUNDING_COLUMNS, OPEN_TIME))


@dataclass(frozen=True, slots=True)
class Template:
    """A factor in SQL as its file describes it. `missing` is `null` or `position`; `cross` is across the market."""

    name: str
    description: str
    formula: str
    source: str
    parameters: tuple[Parameter, ...]
    lookback: str
    missing: str
    null: str
    expression: str
    series: tuple[tuple[str, str], ...] = ()
    lets: tuple[tuple[str, str], ...] = ()
    cross: bool = False
    of: str = ""

    def bind(self, call: Call) -> Bound:
        """This factor with the parameter of `call`. Raises UsageError for the wrong number, type or size."""
        values = self._values(call)
        texts = {name: str(value) for name, value in values.items()}

        def fill(text: str) -> str:
            return re.sub(r"\$(\w+)", lambda match: texts[match[1]], text)

        bound = Bound(
            call,
            self,
            values,
            0 if self.cross else int(evaluate(fill(self.lookback))),
            fill(self.expression),
            tuple((name, fill(text)) for name, text in self.series),
            tuple((name, fill(text)) for name, text in self.lets),
            parse_call(fill(self.of)) if self.of else None,
        )
        if not self.cross:
            _check_reach(bound)
        return bound

    def _values(self, call: Call) -> dict[str, Value]:
        wanted = ", ".join(map(str, self.parameters)) or "none"
        texts = [] if call.param is None or call.param == "" else str(call.param).split(",")
        if self.parameters and self.parameters[0].kind == "factor":  # whose own parameters may hold commas
            spare = sum(1 for p in self.parameters[1:])
            if "," in str(call.param) and len(texts) > spare:
                texts = [",".join(texts[: len(texts) - spare]), *texts[len(texts) - spare :]]
        if len(texts) > len(self.parameters):
            raise UsageError(f"factor {spell(call)}: {len(texts)} parameters; it takes {wanted}.")
        values: dict[str, Value] = {}
        for place, parameter in enumerate(self.parameters):
            if place < len(texts):
                values[parameter.name] = parameter.read(texts[place], spell(call))
            elif parameter.default is not None:
                values[parameter.name] = parameter.default
            else:
                raise UsageError(f"factor {spell(call)}: parameter {parameter.name} is missing; it takes {wanted}.")
        return values


def _check_reach(bound: Bound) -> None:
    """Whether the look-back covers what is read, as far as it is spelled out. Raises UsageError."""
    depth: dict[str, int] = {}

    def reach(text: str, here: str) -> int:
        """How many bars before `here` are read."""
        farthest = 0
        for name, first, last in re.findall(rf"(\w+)\[([^\[\]:]*\b{here}\b[^\[\]:]*)(?::([^\[\]]*))?\]", text):
            for place in filter(None, (first, last)):
                try:
                    offset = int(evaluate(re.sub(rf"\b{here}\b", "0", place.strip())))
                except (ValueError, SyntaxError):
                    continue  # not a plain sum
                if offset > 0:
                    raise UsageError(
                        f"factor {spell(bound.call)}: {name}[{place.strip()}] lies after the bar at {here}: "
                        "no factor may read the future."
                    )
                farthest = max(farthest, depth.get(name, 0) - offset)
        return farthest

    for name, text in bound.series:
        depth[name] = reach(text, "t")
    needed = 1 + max(reach(text, "pos") for text in (bound.expression, *(let for _, let in bound.lets)))
    if needed > bound.lookback:
        raise UsageError(
            f"factor {spell(bound.call)}: it reads {needed} candles and declares a look-back of {bound.lookback}. "
            "Correct `-- lookback:`."
        )


def evaluate(text: str) -> float:
    """Plain arithmetic, `+ - * // max() min()`, as look-backs are spelled. Raises ValueError or SyntaxError."""

    def value(node: ast.expr) -> float:
        match node:
            case ast.Constant(value=int() | float() as number):
                return number
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return _OPERATORS[type(op)](value(left), value(right))
            case ast.Call(func=ast.Name(id="max" | "greatest"), args=args):
                return max(map(value, args))
            case ast.Call(func=ast.Name(id="min" | "least"), args=args):
                return min(map(value, args))
        raise ValueError(f"{text!r} is no plain arithmetic")

    return value(ast.parse(text, mode="eval").body)


def _parameters(text: str) -> tuple[Parameter, ...]:
    found = []
    for part in filter(None, map(str.strip, text.split(","))):
        match = _PARAMETER.fullmatch(part)
        if match is None:
            raise ValueError(f"parameter {part!r} is not of the form `n int >= 1 = 20`")
        name, kind, least, default = match.groups()
        found.append(Parameter(name, kind, float(least) if least else None, _KINDS[kind](default) if default else None))
    return tuple(found)


def parse_template(name: str, text: str) -> Template:
    """The factor of a file's text. Raises UsageError naming the factor when the head is not in order."""
    keys: dict[str, str] = {}
    described: list[str] = []
    series: list[tuple[str, str]] = []
    lets: list[tuple[str, str]] = []
    body: list[str] = []
    for line in text.splitlines():
        match = None if body else _HEAD.fullmatch(line.rstrip())
        if match is None:
            body += [line] if line.strip() else []
        elif match[1] == "series":
            series.append((match[2] or "", match[3]))
        elif match[1] == "let":
            lets.append((match[2] or "", match[3]))
        elif match[1]:
            keys[match[1]] = match[3]
        else:
            described.append(match[3])
    expression = "\n".join(body).strip().removesuffix(";")
    cross = keys.get("kind") == "cross"
    missing = keys.get("missing", "null")
    try:
        if not expression:
            raise ValueError("there is no expression below the head")
        if not cross and "lookback" not in keys:
            raise ValueError("`-- lookback:` is missing; say how many candles it needs, the newest included")
        if cross and "of" not in keys:
            raise ValueError("`-- of:` is missing; say which factor it compares across the market")
        if missing not in ("null", "position"):
            raise ValueError(f"`-- missing: {missing}` is neither null nor position")
        taken = {*CANDLE_COLUMNS, *FUNDING_COLUMNS, OPEN_TIME, "pos", "t", "k", "symbol", "value", "market"}
        for own, _ in (*series, *lets):
            if not re.fullmatch(r"[a-z]\w+", own) or own in taken or re.fullmatch(r"[fs]\d+", own):
                raise ValueError(f"series or let {own!r} cannot be used as a name")
        parameters = _parameters(keys.get("params", ""))
    except ValueError as exc:
        raise UsageError(f"factor {name}: {exc}.") from exc
    return Template(
        name,
        " ".join(described),
        keys.get("formula", ""),
        keys.get("source", ""),
        parameters,
        keys.get("lookback", ""),
        missing,
        keys.get("null", ""),
        expression,
        tuple(series),
        tuple(lets),
        cross,
        keys.get("of", ""),
    )
