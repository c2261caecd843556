"""Search hyperparameters for small medical images, with exact budgets and a sealed test split."""

from .search import __version__

__all__ = ["__version__"]
