"""Choosing and testing a winner: second stage, replicates, final evaluation, comparisons."""
