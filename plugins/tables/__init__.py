"""Decisions, weights and ensembles for tables."""
