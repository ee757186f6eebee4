"""A pool without labels: pseudo-labels, how they are mended, and who learns from them."""
