"""Sampling: the search space, the sampler, grids, and drawing a trial's point."""
