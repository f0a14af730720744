"""The text of a factor's expression as a tree.

Expressions are spelled as DuckDB spells them. What they are made of, arithmetic, calls, lists, slices and lambdas,
Python spells alike, but for a few words; with these exchanged, Python's own parser reads them.
"""

from __future__ import annotations

import ast
import re
from functools import lru_cache

__all__ = ["Beyond", "Unsupported", "parse"]

_WORDS = (
    (r"::DOUBLE\b", ""),
    (r"\bIS\s+NOT\s+NULL\b", "is not None"),
    (r"\bCASE\s+WHEN\b", "case("),
    (r"\b(?:WHEN|THEN|ELSE)\b", ","),
    (r"\bEND\b", ")"),
    (r"\bAND\b", "and"),
    (r"\bOR\b", "or"),
    (r"\bNULL\b", "None"),
    (r"<>", "!="),
    (r"(?<![<>=!])=(?!=)", "=="),
)


class Unsupported(ValueError):
    """The expression asks for what cannot be done; the text says for what."""


class Beyond(Unsupported):
    """The expression reads more bars than there are: no other way of computing it could be right."""


@lru_cache(maxsize=1024)
def parse(text: str) -> ast.expr:
    """The tree; CASE WHEN a THEN b ELSE c END is the call `case(a, b, c)`. Raises Unsupported."""
    if "--" in text or "/*" in text:
        raise Unsupported("the expression holds a comment")
    for pattern, word in _WORDS:
        text = re.sub(pattern, word, text, flags=re.IGNORECASE)
    try:
        return ast.parse(" ".join(text.split()), mode="eval").body
    except (SyntaxError, ValueError) as exc:
        raise Unsupported(f"the expression {text!r} is not understood: {exc}") from exc
