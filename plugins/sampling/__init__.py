"""Which rows are trained on, and rows that are made."""
