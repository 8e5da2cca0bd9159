"""Draws of train_edm's rows."""

import numpy as np
import pytest
import torch

from common.datasets.imagenet.sources import ImageBatch
from common.errors import InputError
from tools.train_edm.batches import EdmBatches, open_cache

CLASSES = np.array([0, 0, 0, 0, 0, 0, 0, 2, -1, 2, 5])


class Source:
    """Images whose every value is their number; some cannot be read."""

    def __init__(self, damaged=()):
        self.classes, self.damaged, self.read = CLASSES, damaged, []

    def load(self, numbers, side):
        self.read += list(numbers)
        rows = [place for place, number in enumerate(numbers) if number not in self.damaged]
        pixels = np.stack([np.full((3, side, side), numbers[place], np.uint8)
                           for place in rows]) if rows else np.zeros((0, 3, side, side), np.uint8)
        left_out = {place: "broken" for place, number in enumerate(numbers) if number in self.damaged}
        return ImageBatch(rows, pixels, left_out=left_out)

    def title(self, number):
        return f"image {number}"


def batches(memory_gb=1.0, damaged=(), batch=6, source=None, **changes):
    source = source or Source(damaged)
    return EdmBatches(open_cache(source, 2, memory_gb), source.title, source.classes, 3, batch, **changes)


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("damaged", [(), (0, 3)])
def test_a_row_depends_on_seed_step_and_row_alone(balanced, damaged):
    whole = batches(damaged=damaged, balanced=balanced, xflip=True)
    for memory_gb in (1.0, 0.0):
        other = batches(memory_gb, damaged, balanced=balanced, xflip=True)
        for step in (7, 2, "evaluation"):
            for name, part in zip(("images", "sigma", "noise", "classes"), other.draw(step, 2, 5)):
                expected = dict(zip(("images", "sigma", "noise", "classes"), whole.draw(step, 0, 6)))[name][2:5]
                assert torch.equal(part, expected), (name, step)


def test_epochs_hold_every_image_once_and_balanced_rows_every_class_alike():
    drawn = batches(batch=5)
    numbers = [int(value) for step in range(4) for value in drawn.draw(step, 0, 5)[0][:, 0, 0, 0]]
    assert sorted(numbers[:10]) == sorted(numbers[10:]) == [0, 1, 2, 3, 4, 5, 6, 7, 9, 10]
    assert numbers[:10] != numbers[10:]
    _, _, _, classes = batches(batch=3000, balanced=True).draw(0, 0, 3000)
    counts = np.bincount(classes)
    assert counts[[0, 2, 5]] == pytest.approx([1000] * 3, rel=0.1)


def test_half_of_the_images_are_mirrored_where_asked():
    def first_rows(**changes):
        source = Source()
        source.load = lambda numbers, side: ImageBatch(
            list(range(len(numbers))), np.tile(np.arange(2, dtype=np.uint8), (len(numbers), 3, 2, 1)))
        return batches(batch=400, source=source, **changes).draw(0, 0, 400)[0][:, 0, 0, 0].float().mean()

    assert first_rows() == 0
    assert 0.4 < first_rows(xflip=True) < 0.6


def test_images_in_memory_are_read_once_and_damaged_ones_replaced():
    source = Source(damaged=(1, 4))
    kept = batches(batch=10, source=source)
    for step in range(3):
        images, _, _, classes = kept.draw(step, 0, 10)
        assert torch.equal(classes, torch.from_numpy(CLASSES[images[:, 0, 0, 0].numpy()]))
        assert not {1, 4} & set(images[:, 0, 0, 0].tolist())
    assert len(source.read) == len(set(source.read)) == 10
    assert kept.images.damaged == 2
    with pytest.raises(InputError, match="cannot be read"):
        batches(damaged=range(11)).draw(0, 0, 1)
