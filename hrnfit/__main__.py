"""`python -m hrnfit` is the command line."""

from hrnfit.cli import main

main()
