"""Fixed problems: the schema of their files, and the loader that reads, checks and hashes them."""
