"""Random images that resemble no other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Images = NDArray[np.uint8]


def smooth(n: int, side: int = 28, channels: int = 3, seed: int = 0) -> Images:
    """Return images without two alike."""
    rng = np.random.default_rng(seed)
    small = rng.integers(30, 226, (n, 8, 8), dtype=np.uint8)
    if channels == 3:
        small = small[..., None] + rng.integers(-30, 30, (n, 8, 8, 3)).astype(np.uint8)
    bicubic = Image.Resampling.BICUBIC
    return np.stack([np.asarray(Image.fromarray(s).resize((side, side), bicubic)) for s in small])
