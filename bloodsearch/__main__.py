"""Run the `bloodsearch` command: `python -m bloodsearch`."""

from .search.cli import main

main()
