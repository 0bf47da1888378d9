"""What segments are learned from: whole images or crops, as they are or as the squares of STEGO's official code."""

from __future__ import annotations

from densessl.errors import UserError
from densessl.segmentation.sets import CentreSquares, FiveCrops, LabelledImages
from densessl.segmentation.transform import Frame


def learned_images(train: LabelledImages, crops: str, inputs: str, frame: Frame) -> LabelledImages:
    """The images of a set, or five crops of each; "square" `inputs` are the squares that `frame` shows as they are.

    Raises `UserError` where the backbone's stride does not divide the square.
    """
    train = FiveCrops(train) if crops == "five" else train
    if inputs == "whole":
        return train
    check_square(frame.image_size, frame, "inputs=square")
    return CentreSquares(train, frame.image_size)


def check_square(size: int, frame: Frame, asked: str) -> None:
    """Raise `UserError` where squares of `size` pixels, `asked` for by this setting, would have to be resized."""
    if size % frame.stride and not frame.fixed:
        raise UserError(f"{asked} shows {size} px, which a stride of {frame.stride} does not divide.")
