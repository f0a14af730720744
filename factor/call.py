"""How factors are named: see `bmacdb.factors.call`."""

from bmacdb.factors.call import Call, Value, check_identifier, parse_call, spell

__all__ = ["Call", "Value", "check_identifier", "parse_call", "spell"]
