"""The library: one factor a file, in the language of `bmacdb.factors`."""
