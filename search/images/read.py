"""Read image files as a person sees them, for a model that takes 8-bit RGB.

A viewer turns a photograph as its EXIF block says, applies its colour profile, and draws something behind
transparent pixels. A model that gets other pixels than the person sees gives wrong answers without a word.
So this module does the same where there is one way to do it, and refuses the image where there is not.
"""

from __future__ import annotations

import contextlib
import io
import stat
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .preparation import BLOODMNIST, Preparation

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif")
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF")
MODES = (
    "RGB",
    "RGBA",
    "RGBa",
    "RGBX",
    "L",
    "LA",
    "La",
    "P",
    "PA",
    "1",
    "YCbCr",
    "I;16",
    "I;16B",
    "I;16L",
)
GRAY_MODES = ("1", "L", "LA", "La", "I;16", "I;16B", "I;16L")
MAX_PIXELS = 100_000_000
DARK = 64
"""Of 256 levels. 16-bit images darker than that hold camera data of 14 bits or fewer and look black."""

Images = NDArray[np.uint8]

_ORIENTATION = 0x0112
_TIFF_BITS, _TIFF_PHOTOMETRIC, _TIFF_MAXIMA = 258, 262, (281, 341)
_TIFF_PLANAR, _BY_PLANE = 284, 2
_WHITE_IS_ZERO = 0


@dataclass(frozen=True, slots=True)
class Item:
    """One prepared image, (side, side, 3) or (side, side) uint8, or the reason why it cannot be used."""

    name: str
    image: Images | None
    problem: str = ""
    size: tuple[int, int] = (0, 0)
    """Width and height in the file, before it is turned; (0, 0) if they could not be read."""
    gray: bool = False
    """Whether the file holds one channel."""


class _Unusable(Exception):
    """An image that a model would see differently than a person. The message says why."""


def read_image(path: Path, rule: Preparation = BLOODMNIST) -> Item:
    """Return the image in a file as the model takes it, or the reason why it cannot be used."""
    with quietly():
        return read_quietly(path, rule)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep Pillow's warnings, about damaged EXIF and the like, to itself. It acts on all threads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def read_quietly(path: Path, rule: Preparation) -> Item:
    """Do what `read_image` does, inside `quietly`, which threads cannot enter one by one."""
    from PIL import Image

    name, size, gray = str(path), (0, 0), False
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return Item(name, None, "is not a regular file")
        Image.init()  # or FORMATS holds names that are not registered yet
        with Image.open(path, formats=FORMATS) as image:
            size, gray = image.size, image.mode in GRAY_MODES
            _check_header(image, rule)
            return Item(name, fit_image(_as_seen(image, rule), rule), "", size, gray)
    except _Unusable as problem:
        return Item(name, None, str(problem), size, gray)
    except Exception as error:  # Pillow raises a dozen classes for damaged files
        return Item(name, None, f"cannot be read ({_reason(error)})", size, gray)


def _reason(error: Exception) -> str:
    """Return why a file cannot be read, without its path."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"


def fit_image(image: Any, rule: Preparation = BLOODMNIST) -> Images:
    """Crop an RGB Pillow image by the rule, resize it bilinearly and return its pixels."""
    from PIL import Image

    size = (rule.side, rule.side)
    used = _cropped(image, rule)
    if used.size != size:
        used = used.resize(size, Image.Resampling.BILINEAR)
    return np.asarray(used if rule.channels == 3 else used.convert("L"), dtype=np.uint8)


def _check_header(image: Any, rule: Preparation) -> None:
    """Raise _Unusable for an image that is refused before its pixels are read."""
    width, height = image.size
    # a phone's JPEG may hold a second picture for its own use; viewers show the first
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise _Unusable(f"holds {image.n_frames} images; save each as a file of its own")
    if min(width, height) < rule.smallest:
        needed = f"{rule.smallest} x {rule.smallest}"
        raise _Unusable(f"is {width} x {height} pixels; the model needs {needed} or more")
    if width * height > MAX_PIXELS:
        raise _Unusable(f"is {width} x {height} pixels; at most {MAX_PIXELS:,} are read")
    if image.mode in ("CMYK", "LAB"):
        raise _Unusable(
            f"has {image.mode} pixels, whose colours depend on the viewer; save it as RGB"
        )
    if image.mode not in MODES:
        raise _Unusable(f"has pixels of kind {image.mode}; save it with 8 bits per channel")


def _as_seen(image: Any, rule: Preparation) -> Any:
    """Return the part of the image that the model uses as an RGB image."""
    bits, tags = _bits(image), getattr(image, "tag_v2", {})
    if bits > 8 and tags.get(_TIFF_PLANAR) == _BY_PLANE and image.tile[0][0] == "raw":
        # Pillow reads such planes as 8 bits: low and high bytes become neighbouring pixels
        raise _Unusable("stores 16-bit colours plane by plane; save it with 8 bits per channel")
    image.load()
    used = _cropped(_upright(image), rule)
    if bits > 8:
        used = _eight_bits(used, bits, tags)
    used = _opaque(used)
    return _to_srgb(used)


def _cropped(image: Any, rule: Preparation) -> Any:
    """Return the part that the model uses. A part taken before is returned as it is."""
    if rule.crop == "whole":
        return image
    width, height = image.size
    side = min(width, height, *([rule.crop] if isinstance(rule.crop, int) else []))
    left, top = (width - side) // 2, (height - side) // 2
    return image.crop((left, top, left + side, top + side))


def _upright(image: Any) -> Any:
    """Return the image turned as its EXIF block says."""
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    orientation = 1
    with contextlib.suppress(Exception):  # a damaged block turns nothing, in viewers too
        orientation = image.getexif().get(_ORIENTATION, 1)
    turn = turns.get(orientation)
    return image if turn is None else image.transpose(turn)


def _bits(image: Any) -> int:
    """Return the bits per channel in the file. Pillow keeps the upper 8 of 16-bit colours only."""
    if image.format == "TIFF":
        bits = image.tag_v2.get(_TIFF_BITS, (8,))
        return max(bits) if isinstance(bits, tuple) else int(bits)
    if image.mode.startswith("I;16") or any(";16" in str(tile[3]) for tile in image.tile):
        return 16
    return 8


def _eight_bits(image: Any, bits: int, tags: Any) -> Any:
    """Return an image with 8 bits per channel of one with more.

    Raises _Unusable when the values do not fill the range that the file declares: the picture would be
    black, or nearly so.
    """
    from PIL import Image

    if "transparency" in image.info:
        raise _Unusable("has 16 bits per channel and a transparent colour; save it with 8 bits")
    if image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.int64) >> (bits - 8)
        if tags.get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO:  # Pillow turns 8-bit images only
            values = 255 - values
        profile = image.info.get("icc_profile")
        image = Image.fromarray(values.clip(0, 255).astype(np.uint8))
        if profile is not None:
            image.info["icc_profile"] = profile
    declared = [tags[tag] for tag in _TIFF_MAXIMA if tag in tags]
    maxima = [max(value) if isinstance(value, tuple) else value for value in declared]
    brightest = int(np.asarray(image.convert("RGB")).max())
    if brightest < DARK or any(maximum < 2 ** (bits - 1) for maximum in maxima):
        raise _Unusable(
            f"has {bits} bits per channel but uses only the lowest, as camera data do; save it with 8 bits "
            "per channel, as bright as it should look"
        )
    return image


def _opaque(image: Any) -> Any:
    """Return the image without its alpha channel. Raises _Unusable when pixels are transparent."""
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema()[0] < 255:
            raise _Unusable(
                "has transparent pixels, which look different on each background; save it without "
                "transparency"
            )
    return image if image.mode == "L" else image.convert("RGB")


def _to_srgb(image: Any) -> Any:
    """Return a gray or RGB image as sRGB, by the colour profile that the file may hold."""
    profile = image.info.get("icc_profile")
    if profile:
        from PIL import ImageCms

        # viewers ignore a damaged profile, and one of another kind of image
        with contextlib.suppress(ImageCms.PyCMSError, OSError):
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if "sRGB" not in ImageCms.getProfileDescription(source):
                target = ImageCms.createProfile("sRGB")
                converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
                assert converted is not None  # not in place
                return converted
    return image.convert("RGB")
