"""Files for other programs: the predecessor's layout, and plain parquet and csv."""
