"""Images on one sheet."""

import io
from typing import Any

import numpy as np


def sheet(images: Any, columns: int = 16, gap: int = 2) -> bytes:
    """Images (n, C, H, W) uint8 as one PNG, in rows, gaps between the tiles; small ones enlarged, at most 160 of them."""
    from PIL import Image

    images = images[: 10 * columns]
    n, channels, height, width = images.shape
    scale = max(1, 48 // width)
    rows = -(-n // columns)
    page = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, 3), 96, dtype=np.uint8)
    for i, image in enumerate(images):
        top, left = (i // columns) * (height + gap) + gap, (i % columns) * (width + gap) + gap
        page[top : top + height, left : left + width] = np.moveaxis(
            np.broadcast_to(image, (3, height, width)) if channels == 1 else image, 0, -1
        )
    file = io.BytesIO()
    Image.fromarray(page).resize((page.shape[1] * scale, page.shape[0] * scale), Image.Resampling.NEAREST).save(file, "PNG")
    return file.getvalue()
