"""Many cells: which are left to do, and each in a process of its own."""
