"""Measures that a protocol may ask for beside those of its track."""
