"""``python -m paramstore``: the command line."""

from paramstore.cli import main

main()
