"""The files of train_edm: loaded by the sibling tools as they are, with the class numbers that these give."""

import json

import numpy as np
import pytest
import torch

from common.diffusion.labels import class_vectors
from common.errors import InputError
from common.networks.adm_weights import load_adm
from tests.common.datasets.imagenet_files import write_batches, write_tree, zip_tree
from tests.tools.activation_networks import save_network
from tests.tools.commands import results_of
from tests.tools.train_edm.runs import NETWORK, train
from tools.train_edm.__main__ import EdmTrainOptions
from tools.train_edm.pictures import row_classes
from tools.train_edm.sources import open_images

pytestmark = pytest.mark.usefixtures("here")


def outputs(network):
    x = torch.randn((2, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return network(x, 0.7, class_vectors([0, 2], 3))


def test_averaged_and_raw_weights_load_from_both_files():
    train("--steps", "8")
    state = torch.load("out/checkpoint.pth", weights_only=True)
    ema, raw = load_adm("out/checkpoint.pth"), load_adm("out/checkpoint.pth", weights="raw")
    # images of two containers: the same weights, but not one computation
    torch.testing.assert_close(outputs(load_adm("out/network.safetensors")), outputs(ema), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(outputs(raw), outputs(ema), rtol=1e-3, atol=1e-4)
    for network, entry in ((ema, "ema"), (raw, "model")):
        assert all(torch.equal(tensor, state[entry][name]) for name, tensor in network.state_dict().items())
    config = load_adm("out/network.safetensors").config
    assert (config.img_resolution, config.label_dim, config.channel_mult, config.channel_mult_emb) == (8, 3, (1, 2), 2)


def test_the_siblings_take_the_network_with_the_same_flags():
    train("--steps", "3")
    made = results_of("generate_dataset", "--model", "imagenet", "--checkpoint_path", "out/network.safetensors",
                      "--method", "heun",
                      "--num_steps", "2", "--num_samples", "3", "--device", "cpu")
    assert made["num_samples"] == 3
    found = results_of("extract_real_imagenet", "--checkpoint_path", "out/checkpoint.pth", "--weights", "raw",
                       "--npz_dir", "colours",
                       "--class_map", "none", "--num_samples", "4", "--device", "cpu")
    assert found["num_samples"] == 4


def extracted_classes(*words):
    """Return {original path or npz_sample_N: class} as extract_real_imagenet records them."""
    results_of("extract_real_imagenet", "--checkpoint_path", "thousand.safetensors", *words, "--num_samples", "1000",
               "--device", "cpu",
               "--noreconstructions", "--images", "none")
    samples = json.loads(open("data/metadata/imagenet_real/dataset_info.json").read())["samples"]
    return {sample["original_path"].split("val/")[-1]: sample["class_label"] for sample in samples}


SOURCES = {
    "npz, development kit's order": ("--npz_dir", "npz"),
    "npz, labels of its own": ("--npz_dir", "npz", "--class_map", "none"),
    "npz, a map": ("--npz_dir", "npz", "--class_map", "map.json"),
    "tree of synsets": ("--imagenet_dir", "tree", "--split", "val"),
    "tree of any folders": ("--imagenet_dir", "tree", "--split", "val", "--class_map", "none"),
    "tree without a split": ("--imagenet_dir", "tree", "--split", "all", "--class_map", "none"),
    "zip": ("--imagenet_dir", "tree.zip", "--split", "val"),
}


@pytest.mark.parametrize("name", SOURCES)
def test_classes_are_numbered_as_extract_real_imagenet_numbers_them(name, here):
    write_batches(here / "npz")
    write_tree(here / "tree")
    zip_tree(here / "tree", here / "tree.zip")
    (here / "map.json").write_text("[7, 3, 900, 0]")
    save_network(here / "thousand.safetensors", label_dim=1000)
    words = SOURCES[name]
    _, source = open_images(EdmTrainOptions(**{flag.removeprefix("--"): value for flag,
                                         value in zip(words[::2], words[1::2])}))
    own = {source.title(number).split("val/")[-1]: int(source.classes[number]) for number in range(len(source))}
    told = extracted_classes(*words)
    assert told
    assert told == {name: own[name] for name in told}
    assert len(own) - len(told) == ("broken.JPEG" in str(own))  # which extraction leaves out


def test_what_data_names_is_found_out(here):
    write_tree(here / "tree", split="train")
    zip_tree(here / "tree", here / "tree.zip")
    write_tree(here / "flat", split="")
    for path, count in (("colours", 18), ("tree", 6), ("tree.zip", 6), ("flat", 6), ("photos32", 6100)):
        options = EdmTrainOptions(data=path, class_map="none", conditional=path != "photos32", resolution=32)
        assert len(open_images(options)[1].classes) == count
    # class folders of any name
    assert len(open_images(EdmTrainOptions(data="flat", conditional=False))[1].classes) == 6


def test_A9_images_of_ones_own_file_that_are_held_out_are_counted(here):
    np.savez("own.npz", images=np.zeros((20, 8, 8, 3), np.uint8), labels=np.arange(20) % 2)
    taken = {split: open_images(EdmTrainOptions(data="own.npz", class_map="none", split=split))[1]
             for split in (None, "val", "all")}
    assert {split: len(source.classes) for split, source in taken.items()} == {None: 18, "val": 2, "all": 20}
    assert taken[None].notes() == ["note: 18 of the 20 images of own.npz are taken, as its train split; --split all "
                                   "takes all"]
    assert taken["all"].notes() == []
    assert open_images(EdmTrainOptions(data="digits", class_map="none"))[1].notes() == []
    with pytest.raises(InputError, match="one split at a time"):
        open_images(EdmTrainOptions(data="digits", class_map="none", split="all"))


def test_images_of_other_sizes_are_resized_like_the_sibling_does(here):
    from common.images.network_size import resize_planes

    write_batches(here / "large", side=16)
    _, source = open_images(EdmTrainOptions(npz_dir="large", class_map="none"))
    np.testing.assert_array_equal(source.load(np.arange(3), 8).pixels,
                                  resize_planes(source.reader.read(np.arange(3)), 8, "box"))
    assert results_of("train_edm", *NETWORK, "--data", "large", "--class_map", "none", "--steps", "1", "--device",
                      "cpu",
                      "--samples_per_class", "0")["steps"] == 1


def test_rows_of_a_sample_picture_are_classes_that_occur():
    assert row_classes(np.array([7, -1, 3, 7, 900]), 1000) == [3, 7, 900]
    assert row_classes(np.arange(160), 1000) == list(range(0, 160, 10))
    assert row_classes(np.zeros(3, np.int64), 0) is None
