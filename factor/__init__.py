"""Factors, one per file.

`PctChg.sql` is an expression over the window of a symbol, described by its head; `PctChg.py` beside it is the same
factor with the community's `signal(*args)`. Where both exist they agree, and the SQL form is the one that runs.
"""

from bmacdb.factor.call import Call, parse_call, spell
from bmacdb.factor.registry import Library, Plan
from bmacdb.factor.template import Parameter, Template

__all__ = ["Call", "Library", "Parameter", "Plan", "Template", "parse_call", "spell"]
