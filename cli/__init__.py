"""The command line."""

