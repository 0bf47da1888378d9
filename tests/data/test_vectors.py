"""Images are prepared for a network as said, and their vectors keep the order of what could be read."""

import numpy as np
import pytest
import torch

from densessl.data.images import UnreadableImage
from densessl.data.vectors import prepare, vectors


@pytest.mark.parametrize("size", [32, 64])
def test_small_images_of_the_right_size_stay_as_they_are(size):
    image = np.random.default_rng(0).integers(0, 255, (size, size, 3), dtype=np.uint8)
    assert np.array_equal(prepare(image, size), image)


def test_large_images_are_resized_and_cut_to_the_centre():
    image = np.zeros((512, 1024, 3), np.uint8)
    image[:, 512 - 224 : 512 + 224] = 200  # at half the size, exactly the centre of 224 px
    assert (prepare(image, 224) == 200).all()
    assert prepare(np.zeros((10, 7, 3), np.uint8), 224).shape == (224, 224, 3)
    assert prepare(np.zeros((1, 300, 3), np.uint8), 32).shape == (32, 32, 3)


class Memory:
    """A source in memory; None cannot be read."""

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def read(self, index):
        if self.images[index] is None:
            raise UnreadableImage("it is truncated")
        return self.images[index]

    def name(self, index):
        return f"{index}.png"


@pytest.mark.parametrize("workers", [0, 2])
def test_vectors_keep_the_order_and_leave_out_what_cannot_be_read(workers):
    images = [np.full((8, 8, 3), value, np.uint8) for value in range(10)]
    images[3] = images[4] = None

    def encode(batch):
        assert batch.dtype == torch.uint8 and batch.shape[1:] == (3, 8, 8)
        return batch.float().mean(dim=(2, 3))

    steps = []
    found = vectors(Memory(images), [9, 3, 4, 0, 5], encode, 8, batch_size=2, workers=workers, advance=steps.append)
    assert found.z[:, 0].tolist() == [9, 0, 5] and found.indices.tolist() == [9, 0, 5]
    assert found.unreadable == [(3, "it is truncated"), (4, "it is truncated")]
    assert steps == [2, 4, 5]
