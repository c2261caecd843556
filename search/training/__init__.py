"""One training. Nothing here depends on studies or databases."""
