"""Images in: a labelled set's training and test splits, read image by image, with class names and a fingerprint.

``split`` (what a split is), ``digits`` (held in memory), ``rows`` (on disk, read when asked for), ``listing`` (folders),
``library`` (what the datasets library opens), ``pixels`` (bytes → pixels), ``names`` (of classes), ``source`` (a recipe's).
"""

from distill.images.source import load
from distill.images.split import Held, Images, Split

__all__ = ["Held", "Images", "Split", "load"]
