"""The factor language: DuckDB's SQL over windows, read by sqlglot.

`source` reads a file, `bind` puts parameters in and finds how far it looks back. `texts` finds the library's files,
which are in `bmacdb/factor`.
"""
