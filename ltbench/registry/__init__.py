"""What is installed: found, registered, and what was left out, and why."""
