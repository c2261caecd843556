"""A study at one moment, read with a few cheap queries: what the terminal shows while workers train."""
