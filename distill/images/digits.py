"""scikit-learn's bundled handwritten digits: no download, 1,797 images of 8 × 8, enlarged and held in memory."""

from typing import Any

import numpy as np

from distill.images.split import Held, Images
from distill.recipe import RecipeError
from distill.recipe.images import DigitsData

_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def digits(data: DigitsData) -> Images:
    """The digits, split by class in the same shares."""
    from PIL import Image
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, target = load_digits(return_X_y=True)
    small = np.round(pixels.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    resized = [np.asarray(Image.fromarray(image).resize((data.size, data.size), Image.Resampling.BICUBIC)) for image in small]
    images, labels = np.stack(resized)[:, None], np.asarray(target, dtype=np.int64)
    train: Any
    test: Any
    try:
        train, test = train_test_split(
            np.arange(len(labels)), test_size=data.test_fraction, stratify=labels, random_state=data.seed
        )
        if data.validation_fraction:
            train, test = train_test_split(
                train, test_size=data.validation_fraction, stratify=labels[train], random_state=data.seed
            )
    except ValueError as error:
        raise RecipeError(
            f"data.test_fraction = {data.test_fraction} and data.validation_fraction = {data.validation_fraction} leave a split "
            f"without images of every class: {error}"
        ) from None
    train, test = np.sort(train), np.sort(test)
    return Images(Held(images[train], labels[train]), Held(images[test], labels[test]), _NAMES, 1, data.size)
