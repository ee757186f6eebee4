"""Contrast between rows, and experts."""
