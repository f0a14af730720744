"""A factor's file: a head of comments that describes it, and below it DuckDB SQL, which sqlglot reads.

    -- RsiSum: share of gains in the moves of the last n candles, 0 to 100.
    -- formula: 100 * sum of gains / sum of absolute changes, over n changes
    -- source: Cutler's RSI
    -- params: n int >= 1 = 14
    close - lag(close) OVER bars AS change,
    100 * sum(greatest(change, 0)) OVER last_n / sum(abs(change)) OVER last_n

The body is a select list: the last item is the factor, those before it are steps that later items may name. It may
instead be a whole query (SELECT, WITH or FROM) over `bars` that gives symbol, open_time and value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from bmacdb.errors import UsageError, did_you_mean
from bmacdb.factors.call import Call, Value, spell
from bmacdb.factors.oldform import is_old, renewed

__all__ = ["Factor", "Parameter", "parse_factor"]

_HEAD = re.compile(r"--\s?(?:(formula|source|params|null):\s*)?(.*)")
_PARAMETER = re.compile(r"([a-z]\w*) (int|float|text|factor)(?: >= (-?[\d.]+))?(?: = (.+))?")
_KINDS: dict[str, Callable[[str], Value]] = {"int": int, "float": float, "text": str, "factor": str}
_ANSI = re.compile(r"\x1b\[\d*m")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: its name, `int`, `float`, `text` or `factor`, its least value and its default."""

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
class Factor:
    """A factor as its file has it; `$n` is `exp.Placeholder` in the trees.

    `steps`: (name, tree) in order, the last named `value`; empty where the file is a whole query, which is `query`.
    """

    name: str
    text: str
    description: str
    formula: str
    source: str
    null: str
    parameters: tuple[Parameter, ...]
    steps: tuple[tuple[str, exp.Expr], ...]
    query: exp.Query | None

    def kind(self, parameter: str) -> str:
        """`int`, `float`, `text` or `factor`."""
        return next(known.kind for known in self.parameters if known.name == parameter)

    def error(self, node: exp.Expr | None, problem: str) -> UsageError:
        """`problem` with the line and column of `node` in the file."""
        added = 0 if self.query else len(_SELECT)
        starts = [] if node is None else [part.meta["start"] - added for part in node.walk() if "start" in part.meta]
        if isinstance(node, exp.Placeholder):
            starts = [max(self.text.find(f"${node.name}"), 0)]
        if not starts:
            return UsageError(f"factor {self.name}: {problem}")
        before = self.text[: min(starts)]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        return UsageError(f"factor {self.name}, line {line}, column {column}: {problem}")

    def values(self, call: Call) -> dict[str, Value]:
        """The parameters of `call` by name. Raises UsageError for the wrong number, type or size."""
        wanted = ", ".join(map(str, self.parameters)) or "none"
        texts = [] if call.param is None or call.param == "" else str(call.param).split(",")
        if self.parameters and self.parameters[0].kind == "factor":  # whose own parameters may hold commas
            spare = len(self.parameters) - 1
            if len(texts) > max(spare, 1):
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


_SELECT = "SELECT\n"


def parse_factor(name: str, text: str) -> Factor:
    """The factor of a file's text. Raises UsageError with line and column where it cannot be read."""
    keys: dict[str, str] = {}
    described: list[str] = []
    lines = text.splitlines()
    body = next((number for number, line in enumerate(lines) if line.strip() and not line.startswith("--")), len(lines))
    for line in lines[:body]:
        if match := _HEAD.fullmatch(line.rstrip()):
            if match[1]:
                keys[match[1]] = match[2]
            else:
                described.append(match[2])
    if is_old(text):
        new = renewed(text)
        by_hand = (
            "" if "[pos" not in new and "[t" not in new else " What still has [pos] or [t] is to be written by hand."
        )
        raise UsageError(
            f"factor {name}: it is in the form over lists, which is no more. In DuckDB's own SQL over windows "
            f"(docs/factors.md):{by_hand}\n\n{new}\n"
        )
    try:
        parameters = _parameters(keys.get("params", ""))
    except ValueError as exc:
        raise UsageError(f"factor {name}: {exc}.") from exc
    whole = re.match(r"(select|with|from)\b", lines[body] if body < len(lines) else "", re.IGNORECASE)
    query = _tree(name, text if whole else _SELECT + text, 0 if whole else 1)
    description = " ".join(filter(None, described)).removeprefix(f"{name}: ")
    factor = Factor(
        name,
        text,
        description,
        keys.get("formula", ""),
        keys.get("source", ""),
        keys.get("null", ""),
        parameters,
        () if whole else tuple((item.alias, item.unalias()) for item in query.expressions),
        query if whole else None,
    )
    return factor if whole else _checked(factor, query)


def _tree(name: str, text: str, added: int) -> exp.Query:
    try:
        found = [tree for tree in sqlglot.parse(text, dialect="duckdb") if tree is not None]
    except SqlglotError as exc:
        known = getattr(exc, "errors", None) or [{}]
        near = known[0].get("highlight") or ""
        place = (
            f", line {known[0]['line'] - added}, column {known[0]['col'] - len(near) + 1}" if "line" in known[0] else ""
        )
        reason = known[0].get("description") or _ANSI.sub("", str(exc)).split("\n")[0]
        raise UsageError(f"factor {name}{place}: {reason}{f' at {near!r}' if near else ''}.") from exc
    if len(found) != 1 or not isinstance(found[0], exp.Query):
        raise UsageError(f"factor {name}: its body must be one select list or one query, and holds {len(found)}.")
    for node in found[0].walk():
        node.pop_comments()
    return found[0]


def _checked(factor: Factor, query: exp.Query) -> Factor:
    """`factor` with its value named. Raises UsageError where it is not a select list and nothing else."""
    if beyond := next((key for key, part in query.args.items() if part and key not in ("expressions", "kind")), None):
        raise UsageError(
            f"factor {factor.name}: a select list has no {beyond.rstrip('_').upper()}. Begin with SELECT to write a "
            "whole query over bars."
        )
    if not factor.steps:
        raise UsageError(f"factor {factor.name}: there is no expression below the head.")
    steps = [*factor.steps[:-1], ("value", factor.steps[-1][1])]
    seen: set[str] = set()
    for step, tree in steps:
        if not step:
            raise factor.error(tree, "a step before the last needs a name: `… AS name`.")
        if step in seen or (step == "value" and tree is not steps[-1][1]):
            raise factor.error(tree, f"the name {step} is taken: call the step otherwise.")
        seen.add(step)
        if hidden := tree.find(exp.Query):
            raise factor.error(hidden, "a query within a select list. Begin with SELECT to write a whole query.")
    names = [parameter.name for parameter in factor.parameters]
    for _, tree in steps:
        for mark in tree.find_all(exp.Placeholder):
            if mark.name not in names:
                raise factor.error(
                    mark,
                    f"there is no parameter ${mark.name}.{did_you_mean(mark.name, names)} `-- params:` names them.",
                )
    return Factor(
        factor.name,
        factor.text,
        factor.description,
        factor.formula,
        factor.source,
        factor.null,
        factor.parameters,
        tuple((step.lower(), tree) for step, tree in steps),
        None,
    )


def _parameters(text: str) -> tuple[Parameter, ...]:
    found = []
    for part in filter(None, map(str.strip, text.split(","))):
        match = _PARAMETER.fullmatch(part)
        if match is None:
            raise ValueError(f"parameter {part!r} is not of the form `n int >= 1 = 20`")
        name, kind, least, default = match.groups()
        found.append(Parameter(name, kind, float(least) if least else None, _KINDS[kind](default) if default else None))
    return tuple(found)
