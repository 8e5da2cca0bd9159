"""ImageNet's classes in both orders."""

import numpy as np
import pytest

from common.datasets.imagenet import classes
from common.errors import InputError


def test_both_orders_hold_the_same_classes():
    network = classes.class_index()
    assert list(network) == [str(number) for number in range(1000)]
    synsets = [synset for synset, _ in network.values()]
    assert synsets == sorted(set(synsets))
    order = classes.npz_to_network()
    assert sorted(order) == list(range(1000))
    assert not (order == np.arange(1000)).any()


def test_labels_of_the_npz_sets_become_network_classes():
    assert int(classes.label_to_class(1)) == 278
    assert classes.class_index()["278"][1] == "kit_fox"
    got = classes.label_to_class(np.array([449, 450, 2, 3], np.uint16))
    assert got.dtype == np.int64
    synsets = [classes.class_index()[str(number)][0] for number in got]
    assert synsets == ["n01440764", "n01443537", "n02100735", "n02110185"]
    assert classes.label_to_class(np.array([], np.int64)).shape == (0,)


@pytest.mark.parametrize(("labels", "message"),
                         [([0, 1], "label 0 is outside 1 .. 1000"), ([1001], "label 1001"), ([1.5], "float64")])
def test_other_labels_are_refused(labels, message):
    with pytest.raises(InputError, match=message) as caught:
        classes.label_to_class(labels, "train_data_batch_3.npz")
    assert "train_data_batch_3.npz" in str(caught.value)


def test_classes_are_named_by_number_synset_or_name():
    assert classes.parse_class("278") == classes.parse_class("n02119789") == classes.parse_class("Kit fox") == 278
    assert classes.synset_numbers()["n01440764"] == 0
    with pytest.raises(InputError, match="two classes, 134 .n02012849. and 517"):
        classes.parse_class("crane")
    with pytest.raises(InputError, match="Use 0 .. 999"):
        classes.parse_class("1000")
    with pytest.raises(InputError, match="Did you mean goldfish"):
        classes.parse_class("gold fish")
