"""Factors, one per file."""

