"""Data sets: named, fetched, checked, hashed; the sealed test split."""
