"""optuna-dashboard: fed with notes and pictures, and served to readers only."""
