"""Methods that make a trained network smaller with a few rows."""
