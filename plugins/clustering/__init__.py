"""Methods of clustering and discovery, one a file."""
