"""How tables and numbers are written."""
