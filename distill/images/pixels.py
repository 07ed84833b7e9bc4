"""Bytes to pixels: whatever a file holds becomes (3, size, size) uint8, or is refused with a reason."""

import io
import warnings
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

# What image folders hold, also where Pillow can't read it: such a file is counted, and listed as unreadable.
_ENDINGS = (
    *(".jpeg", ".jpg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".avif", ".heic", ".heif"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".jpx", ".jxl", ".tga", ".pcx"),
)
# Beyond this a file of a few kilobytes may ask for gigabytes of memory; Pillow refuses there too.
_MOST_PIXELS = 178_956_970
_KINDS = {"L": "greyscale", "1": "bilevel", "P": "palette", "CMYK": "CMYK", "YCbCr": "YCbCr", "LAB": "Lab", "HSV": "HSV"}
DEEP, DARK = "16-bit", "16-bit, all values below 4096"
_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")


class Unreadable(ValueError):
    """An image that can't be read, with the reason."""


def is_image(name: str) -> bool:
    """Whether a file is called as images are; hidden ones, as macOS leaves them beside copies, are not."""
    return not name.startswith(".") and name.lower().endswith(_ENDINGS)


def decode(content: bytes, size: int, resize: str = "crop", bits: int = 16) -> NDArray[np.uint8]:
    """Pixels (3, size, size). resize: ``crop`` scales the shorter side to ``size`` and cuts the centre; ``stretch`` scales both.

    Greyscale, palette, CMYK, transparent (over white) and 16-bit images become RGB, upright as EXIF says; of an animation the
    first frame is taken. bits: of the largest value that 16-bit images hold.
    Raises :class:`Unreadable` for what is empty, truncated, no image, or larger than 178,956,970 pixels.
    """
    try:
        image = _opened(content)
        # JPEG can be decoded at a half, a quarter, an eighth: to twice the size wanted, so that the resampling stays ours.
        image.draft("RGB" if image.mode == "RGB" else None, (2 * size, 2 * size))
        image = _rgb(image, bits)
    except Unreadable:
        raise
    except Exception as error:  # Pillow's readers raise whatever the broken bytes lead them to
        raise Unreadable(_reason(error)) from None
    return np.moveaxis(np.asarray(_sized(image, size, resize)), -1, 0)


def inspect(content: bytes, bits: int = 16) -> str | None:
    """From what :func:`decode` would convert the image, None if it is RGB already; raises :class:`Unreadable` as it would."""
    try:
        image = _opened(content)
        kind = "animated" if getattr(image, "n_frames", 1) > 1 else _kind(image.mode)
        if min(image.size) >= 64:
            image.draft(None, (image.width // 8, image.height // 8))  # every byte is read, little is computed
        _rgb(image, bits)
        if kind == DEEP and bits == 16 and np.asarray(image).max(initial=0) < 4096:
            kind = DARK
    except Unreadable:
        raise
    except Exception as error:
        raise Unreadable(_reason(error)) from None
    return kind


def _opened(content: bytes) -> Any:
    from PIL import Image, PngImagePlugin

    if not content:
        raise Unreadable("empty file")
    PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY  # what editors note in a PNG makes it no bad one
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of large images and odd metadata: what can't be read raises
        image = Image.open(io.BytesIO(content))
    if image.width * image.height > _MOST_PIXELS:
        raise Unreadable(f"{image.width} × {image.height} pixels are more than {_MOST_PIXELS:,}")
    return image


def _kind(mode: str) -> str | None:
    if mode.startswith("I"):
        return DEEP
    return "transparent" if mode in _ALPHA else None if mode == "RGB" else _KINDS.get(mode, mode)


def _rgb(image: Any, bits: int) -> Any:
    from PIL import Image, ImageOps

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image.load()
        with suppress(Exception):  # metadata that can't be read say nothing
            ImageOps.exif_transpose(image, in_place=True)
        if image.mode == "F":
            raise Unreadable("floating-point pixels have no known range")
        if image.mode.startswith("I"):
            deep = np.asarray(image).astype(np.int64)
            most = 2**bits - 1
            if deep.min(initial=0) < 0 or deep.max(initial=0) > most:
                raise Unreadable(f"integer pixels beyond {bits} bits have no known range")
            return Image.fromarray(((255 * deep + most // 2) // most).astype(np.uint8)).convert("RGB")
        if image.mode in _ALPHA or "transparency" in image.info:
            above = image.convert("RGBA")
            return Image.alpha_composite(Image.new("RGBA", above.size, "white"), above).convert("RGB")
        return image.convert("RGB")


def _sized(image: Any, size: int, resize: str) -> Any:
    from PIL import Image

    if resize == "stretch":
        return image.resize((size, size), Image.Resampling.BICUBIC)
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    return image.resize((size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()).replace(" <_io.BytesIO object at ", " <")
    return "no image that is known" if "cannot identify" in text else f"{type(error).__name__}: {text}"[:200]
