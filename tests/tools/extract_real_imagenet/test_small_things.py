"""Words that users write and files that they have: numbers, levels, splits, networks of other programs."""

import pytest
import torch

from common.networks.adm_weights import read_adm
from tests.common.datasets.imagenet_files import write_batches, write_tree
from tests.tools.commands import refusal_of, results_of
from tests.tools.extract_real_imagenet.runs import NETWORK, extract, info

GENERATE = ("generate_dataset", "--model", "imagenet", *NETWORK)


def test_num_samples_can_be_all_or_a_power_of_ten(workplace):
    pixels, _ = write_batches(workplace / "npz")
    assert extract("--npz_dir", "npz", "--num_samples", "1e1")["num_samples"] == 10
    assert extract("--npz_dir", "npz", "--num_samples", "ALL")["num_samples"] == len(pixels)
    assert extract("--npz_dir", "npz", "--num_samples", str(len(pixels)))["num_samples"] == len(pixels)
    assert results_of(*GENERATE, "--num_samples", "0.2e1")["num_samples"] == 2
    for word in ("1.5", "1e-3", "inf", "nan", "1e400", "many", "1e30"):
        assert "expected an integer, such as 10000 or 1e4" in refusal_of(*GENERATE, "--num_samples", word)
    assert "not 'all'" in refusal_of(*GENERATE, "--num_samples", "all")
    assert "must be at least 1" in refusal_of(*GENERATE, "--num_samples", "0e3")


@pytest.mark.parametrize("level", ["1e-30", "1e-46", "1e-320", "1e6", "1e39", "1e300", "inf", "nan", "-1"])
def test_levels_that_no_network_knows_are_refused_at_once(workplace, level):
    write_batches(workplace / "npz")
    for mode in ("scale", "noise", "clean"):
        assert f"--conditioning_sigma {float(level)}: expected a noise level from 1e-05 to 100000" in refusal_of(
            "extract_real_imagenet", *NETWORK, "--npz_dir", "npz", "--conditioning_sigma", level, "--input_mode", mode)
        assert "expected a noise level" in refusal_of(*GENERATE, "--conditioning_sigma", level, "--input_mode", mode)
    assert "expected a noise level" in refusal_of(*GENERATE, "--conditioning_sigma", level)
    for method in ("heun", "multistep", "fewstep"):
        for flag in ("--sigma_min", "--sigma_max"):
            assert flag in refusal_of(*GENERATE, "--method", method, flag, level)
    assert not (workplace / "data").exists()


@pytest.mark.parametrize("rho", ["1e-30", "0", "1e30", "nan", "inf"])
def test_schedules_that_overflow_are_refused(workplace, rho):
    assert "expected 0.1 to 1000" in refusal_of(*GENERATE, "--method", "heun", "--rho", rho)


@pytest.mark.parametrize(("names", "split"), [((1, 2, 3), "train"), (None, "val")])
def test_the_split_recorded_for_npz_files_is_theirs(workplace, names, split):
    write_batches(workplace / "npz")
    if names is None:
        (workplace / "npz" / "train_data_batch_1.npz").rename(workplace / "npz" / "val_data.npz")
    words = ("--npz_dir", "npz", "--npz_subset", split, "--num_samples", "2")
    extract(*words)
    assert info()["split"] == split
    other = {"train": "val", "val": "train"}[split]
    extract(*words, "--split", other, out="asked")
    assert info("asked")["split"] == other
    extract(*words[:-1], "3", out="asked")  # a folder goes on as it began
    assert info("asked")["split"] == other


def test_deeper_and_missing_splits_say_what_is_there(workplace):
    write_tree(workplace / "set" / "ILSVRC" / "Data" / "CLS-LOC", "train")
    assert "Pass set/ILSVRC/Data/CLS-LOC, which has it" in refusal_of(
        "extract_real_imagenet", *NETWORK, "--imagenet_dir", "set", "--split", "train")
    assert "it holds train. --split all reads all folders" in refusal_of(
        "extract_real_imagenet", *NETWORK, "--imagenet_dir", "set/ILSVRC/Data/CLS-LOC")
    assert "the images lie in no class folders" in refusal_of(
        "extract_real_imagenet", *NETWORK, "--imagenet_dir", "set/ILSVRC/Data/CLS-LOC/train/n02119789", "--split",
        "all")


def test_a_training_state_of_edm_names_the_snapshot(workplace):
    write_batches(workplace / "npz")
    state = workplace / "training-state-002500.pt"
    torch.save({"net": torch.nn.Linear(2, 2), "optimizer_state": {}}, state)
    words = ("extract_real_imagenet", "--npz_dir", "npz", "--checkpoint_path", state.name)
    assert "whose modules are not loaded. Give network-snapshot-002500.pkl" in refusal_of(*words)
    (workplace / "network-snapshot-001000.pkl").write_bytes(b"")
    assert "Give a network, such as network-snapshot-001000.pkl" in refusal_of(*words)
    assert "network-snapshot-001000.pkl" in refusal_of("train_edm", "--data", "digits", "--resolution", "16",
                                                       "--restore", state.name)


FOREIGN = {
    "a SongUNet (DDPM++ or NCSN++)": ["model.map_layer0.weight", "model.enc.32x32_conv.weight",
                                      "model.enc.32x32_block0.conv0.weight", "model.dec.32x32_aux_norm.weight",
                                      "model.dec.32x32_aux_conv.weight"],
    "a classifier of guided-diffusion": ["time_embed.0.weight", "input_blocks.0.0.weight", "out.2.weight"],
}


@pytest.mark.parametrize("what", FOREIGN)
@pytest.mark.parametrize("wrapped", [False, True])
def test_networks_of_other_kinds_are_named(workplace, what, wrapped):
    state = {name: torch.zeros(16, 3, 3, 3) if "conv" in name else torch.zeros(16, 16) for name in FOREIGN[what]}
    torch.save({"ema": state} if wrapped else state, workplace / "network.pth")
    write_batches(workplace / "npz")
    assert what in refusal_of("extract_real_imagenet", "--npz_dir", "npz", "--checkpoint_path", "network.pth")
    with pytest.raises(Exception, match="these are the weights|this is a classifier"):
        read_adm("network.pth")
