"""The live market in the memory of a strategy."""
