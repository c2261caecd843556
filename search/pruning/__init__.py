"""Pruning: the rules, the peers they learn from, and the audit of their decisions."""
