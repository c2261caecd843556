"""BloodMNIST and its synthetic stand-in: fetched, checked, hashed; the sealed test split."""
