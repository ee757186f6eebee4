"""Optimizers, and the geometry of weights and features."""
