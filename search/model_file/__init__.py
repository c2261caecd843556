"""The exported model: one file, written after training, that predicts without PyTorch."""
