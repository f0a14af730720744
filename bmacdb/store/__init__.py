"""The database file: one writer thread, readers elsewhere."""
