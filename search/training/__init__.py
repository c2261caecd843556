"""One training, knowing nothing of studies or databases."""
