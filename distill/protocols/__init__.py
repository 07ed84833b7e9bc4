"""Protocols: how students are trained and judged, as data. ``protocol`` says what one is, ``presets`` holds the field's own.

A protocol moves results more than a method does, so methods are only ever compared under one.
"""

from distill.protocols.presets import PRESETS
from distill.protocols.protocol import Augmentation, Protocol

__all__ = ["PRESETS", "Augmentation", "Protocol"]
