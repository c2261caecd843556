"""The report of a study: what was searched, what came of it and how far it can be trusted."""
