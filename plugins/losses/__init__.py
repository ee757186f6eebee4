"""Weights and losses."""
