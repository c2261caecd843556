"""Shrink the synthetic set to a quarter in every process that has this folder in PYTHONPATH.

Real commands and their workers then draw and train in a quarter of the time. `tests_support.SMALL_SET` names
the folder.
"""

from bloodsearch.search.data import synthetic

synthetic._COUNTS = {
    split: tuple(n // 4 for n in counts) for split, counts in synthetic._COUNTS.items()
}
