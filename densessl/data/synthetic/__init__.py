"""Generated scenes with exact ground truth: landscapes, coasts, villages and streets in eight classes.

What a place is made of shows in its texture, shape and surroundings, not in its colour: walls and roofs take any hue,
water mirrors the sky, seasons turn grass and leaves, and each scene has its own light, cast and grain.
"""

from densessl.data.synthetic.canvas import CLASSES
from densessl.data.synthetic.scenes import scene, write_scenes

__all__ = ["CLASSES", "scene", "write_scenes"]
