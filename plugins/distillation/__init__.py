"""Methods that put a few images in the place of a training set."""
