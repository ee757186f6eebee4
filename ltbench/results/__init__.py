"""Records: what cells yielded, as files and side by side as arrays."""
