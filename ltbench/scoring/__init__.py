"""Pure functions of labels, scores and numbers over seeds."""
