"""The parts of the suite: each has `measure(full, folder) -> Iterator[Row]`."""
