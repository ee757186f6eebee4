"""Training in stages, and corrections after it."""
