import random

import pytest

from densessl.documents.parsing.model import Word


@pytest.fixture(params=range(5))
def rng_words(request):
    """Words of any size anywhere, some of them on others."""
    random.seed(request.param)
    words = []
    for _ in range(200):
        x, y, size = random.uniform(0, 500), random.uniform(0, 700), random.choice([6, 9, 10, 10, 10, 18, 40])
        text = "".join(random.choices("ab1.-•(", k=random.randint(1, 9)))
        width, height = (size, 3 * size) if random.random() < 0.1 else (size * len(text) / 2, size)
        words.append(Word(text, (x, y, x + width, y + height), random.choice([None, float(size)])))
    return words
