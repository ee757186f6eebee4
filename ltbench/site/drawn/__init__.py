"""Figures laid out as marks, one a file."""
