"""Methods that train under attack."""
