"""Places of StyleSpace: offsets, the published tables of dims with a meaning."""

import numpy as np
import pytest

from common.errors import InputError
from common.style_space import (
    CLEVR28,
    FFHQ33,
    FFHQ_GROUPS,
    FFHQ_WIDTHS,
    flat_index,
    style_dims,
    style_offsets,
    vector_and_channel,
)

PUBLISHED = (6623, 6410, 5918, 3572, 4224, 2652, 3466, 3395, 1795, 3357, 2974, 3200, 4903, 3394, 3559, 3576, 3569, 3573,
             7725, 6381, 5029, 4740, 4177, 1824, 1199, 1656, 1121, 5049, 4388, 5990, 3295, 2760, 4614)


def test_the_33_dims_lie_where_they_were_published():
    assert tuple(dim.flat for dim in FFHQ33) == PUBLISHED
    for dim in FFHQ33:
        vector, channel = vector_and_channel(dim.flat)
        assert dim.name.endswith(f"_{vector}_{channel}")
        assert flat_index(vector, channel) == dim.flat


def test_each_dim_has_one_name_and_groups_follow_the_positions():
    for table in (FFHQ33, CLEVR28):
        assert len({dim.name for dim in table}) == len({dim.flat for dim in table}) == len(table)
    for group, positions in FFHQ_GROUPS.items():
        assert [index for index, dim in enumerate(FFHQ33) if dim.group == group] == list(positions)
    assert FFHQ33[24].group == "glasses"
    assert FFHQ33[32].group == "gender"
    assert FFHQ33[19].group is None
    assert len(CLEVR28) == 28
    assert max(dim.flat for dim in CLEVR28) == 7328


def test_offsets_of_the_published_generator():
    assert style_offsets(FFHQ_WIDTHS)[-1] == 9088
    assert style_dims(FFHQ_WIDTHS).dtype == np.int64
    assert np.array_equal(np.cumsum(style_dims(FFHQ_WIDTHS)), style_offsets(FFHQ_WIDTHS))
    widths = (5, 3, 4)
    for flat in range(12):
        assert flat_index(*vector_and_channel(flat, widths), widths) == flat
    assert vector_and_channel(5, widths) == (1, 0)


@pytest.mark.parametrize("call", [lambda: flat_index(26, 0), lambda: flat_index(25, 32), lambda: flat_index(0, -1),
                                  lambda: vector_and_channel(9088), lambda: vector_and_channel(-1)])
def test_a_place_outside_is_refused(call):
    with pytest.raises(InputError, match="no such"):
        call()
