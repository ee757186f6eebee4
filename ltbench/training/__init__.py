"""The training loop, and what may watch, time, keep and continue it."""
