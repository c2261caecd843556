"""What to try next: the search space, the sampler and grids."""
