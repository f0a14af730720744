"""The factor language: DuckDB's SQL over windows, read by sqlglot.

`source` reads a file, `bind` puts parameters in and finds how far it looks back.
"""

from bmacdb.factors.bind import Bound, bind
from bmacdb.factors.call import Call, parse_call, spell
from bmacdb.factors.source import Factor, Parameter, parse_factor

__all__ = ["Bound", "Call", "Factor", "Parameter", "bind", "parse_call", "parse_factor", "spell"]
