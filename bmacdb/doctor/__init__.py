"""The doctor: why a recorder does not record here, or would not."""
