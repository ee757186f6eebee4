"""`python -m ltbench` is the command `ltbench`."""

from ltbench.commands.main import main

main()
