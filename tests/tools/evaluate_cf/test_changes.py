"""What changes when a decision flips, by hand: two flips of a layout with two blobs."""

import numpy as np
import torch

from common.networks.blobgan.layout import Blobs
from tools.evaluate_cf.changes import Change


def layouts(count):
    return Blobs(torch.zeros(count, 2), torch.zeros(count, 2), torch.zeros(count, 3), torch.zeros(count, 2, 4),
                 torch.zeros(count, 3, 2), torch.zeros(count, 3, 2))


def test_means_of_two_flips():
    start, blobs, change = layouts(2), layouts(2), Change()
    blobs.xs[:, 0] = torch.tensor([.5, -.25])  # the first blob moves, once to the right and once to the left
    blobs.sizes[0] = torch.tensor([9., 0., -1.])  # the background's size is not used
    blobs.features[1, 0] = torch.tensor([2., -4.])  # the background's features change once
    before, after = torch.ones(2, 3, 1, 1), torch.tensor([3., 2.]).reshape(2, 1, 1, 1).expand(2, 3, 1, 1)
    for row in range(2):
        rows = [Blobs(*(each[row : row + 1] for each in part)) for part in (start, blobs)]
        change.add(*rows, before[row : row + 1], after[row : row + 1])
    often, tensors, signed, picture = change.means()
    assert change.count == 2
    np.testing.assert_array_equal(often, [.5, 1, .5])
    np.testing.assert_array_equal(tensors["xs"], [0, .375, 0])
    np.testing.assert_array_equal(signed["xs"], [0, .125, 0])
    np.testing.assert_array_equal(signed["sizes"], [0, 0, -.5])
    np.testing.assert_array_equal(tensors["sizes"], [0, 0, .5])
    np.testing.assert_array_equal(tensors["features"], [1.5, 0, 0])
    assert set(signed) == {"xs", "ys", "sizes"}
    np.testing.assert_array_equal(picture, np.full((3, 1, 1), 1.5))
