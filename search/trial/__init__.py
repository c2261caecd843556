"""One claimed trial, from its parameters to its outcome."""
