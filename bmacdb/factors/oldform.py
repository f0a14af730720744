"""The form that factors in SQL had before, over lists (`close[pos]`), told in the present one: for the error alone."""

from __future__ import annotations

import re

__all__ = ["is_old", "renewed"]

_OLD = re.compile(r"^-- (lookback|missing|series|let|kind|of)\b.*:", re.MULTILINE)
_NAMED = re.compile(r"-- (?:series|let) (\w+): (.*)")
_RULES = (
    (r"list_(\w+)\((\w+)\[pos - \$(\w+) \+ 1 : pos\]\)", r"\1(\2) OVER last_\3"),
    (r"list_(\w+)\((\w+)\[pos - (\d+) : pos\]\)", r"\1(\2) OVER (bars ROWS BETWEEN \3 PRECEDING AND CURRENT ROW)"),
    (
        r"list_(\w+)\((\w+)\[pos - ([^\[\]:]+?) : pos - ([^\[\]:]+?)\]\)",
        r"\1(\2) OVER (bars ROWS BETWEEN \3 PRECEDING AND \4 PRECEDING)",
    ),
    (
        r"list_(\w+)\((\w+)\[pos - ([^\[\]:]+?) : pos\]\)",
        r"\1(\2) OVER (bars ROWS BETWEEN \3 PRECEDING AND CURRENT ROW)",
    ),
    (r"(\w+)\[(?:pos|t) - 1\]", r"lag(\1) OVER bars"),
    (r"(\w+)\[(?:pos|t) - ([^\[\]:]+)\]", r"lag(\1, \2) OVER bars"),
    (r"(\w+)\[(?:pos|t)\]", r"\1"),
)


def is_old(text: str) -> bool:
    """Whether a file is in the form over lists."""
    return bool(_OLD.search(text)) or "[pos" in text


def renewed(text: str) -> str:
    """The same factor in the present form, as far as that can be told line by line."""
    head: list[str] = []
    steps: list[str] = []
    body: list[str] = []
    keys: dict[str, str] = {}
    for line in text.splitlines():
        if named := _NAMED.fullmatch(line.strip()):
            steps.append(f"{_new(named[2])} AS {named[1]},")
        elif match := re.match(r"-- (lookback|missing|kind|of): (.*)", line):
            keys[match[1]] = match[2]
        elif line.strip():
            (head if line.startswith("--") else body).append(line)
    value = _new("\n".join(body))
    if keys.get("of"):
        name, _, given = keys["of"].partition(":")
        called = name if name.startswith("$") else f"{name}({given})"
        value = f"cs_rank({called})  -- or cs_zscore, cs_scale"
    elif keys.get("missing", "null") == "null":
        bars = keys.get("lookback", "1")
        frame = f"(bars ROWS BETWEEN {bars} - 1 PRECEDING AND CURRENT ROW)"
        value = f"CASE WHEN count(close) OVER {frame} = {bars} THEN {value} END"
    return "\n".join([*head, *steps, value])


def _new(text: str) -> str:
    for pattern, put in _RULES:
        text = re.sub(pattern, put, text)
    return text
