"""Methods that take a sequence's channels apart."""
