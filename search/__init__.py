"""The search service: study storage, workers, training, evaluation and the command line."""

__version__ = "0.2.0"
