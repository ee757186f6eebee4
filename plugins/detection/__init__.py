"""Methods that act on the stored scores of a detector."""
