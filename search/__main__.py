"""`python -P -m search`: how the supervisor starts its workers."""

from search.cli import main

main()
