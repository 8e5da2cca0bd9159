"""Each mistake takes one line and status 2, and writes nothing."""

import json

import pytest
import torch

from common.errors import InputError
from common.files import read_json, write_json
from tests.readers.interval_kinds import edm_state, edm_training
from tests.tools.activation_networks import save_network
from tests.tools.commands import call_tool, refusal_of
from tests.tools.train_edm.runs import TINY, contents, train
from tools.train_edm.state import load_state

MISTAKES = {
    "no images given": ("--npz_dir",),
    "Cannot use both --data and --npz_dir": ("--data", "colours"),
    "Cannot use both --npz_dir and --imagenet_dir": ("--imagenet_dir", "colours"),
    "must be imagenet, none or a .json": ("--class_map", "wrong"),
    "a map of 2 labels, but the data have label 3": ("--class_map", "short.json"),
    "class 2 is out of range for a network of 2 classes": ("--label_dim", "2"),
    "10 pixels cannot be halved 2 times": ("--resolution", "10", "--channel_mult", "1", "1", "1", "--resize",
                                           "lanczos"),
    "box resizing needs a multiple of 6 pixels, the images have 8": ("--resolution", "6"),
    "are not divisible into normalisation groups": ("--model_channels", "18"),
    "--lr_floor: acts on --lr_decay cosine": ("--lr_decay", "none", "--lr_floor", "0.2"),
    "--steps 0: must be at least 1": ("--steps", "0"),
    "--lr 0.0: must be above 0": ("--lr", "0"),
    "--lr nan: must be above 0": ("--lr", "nan"),
    "--lr inf: must be above 0 and finite": ("--lr", "inf"),
    "--p_std 0.0: must be above 0": ("--p_std", "0"),
    "--dropout 1.0: must be at least 0 and below 1": ("--dropout", "1"),
    "--label_dropout 0.1: needs a class-conditional network": ("--noconditional", "--noclass_balanced",
                                                               "--label_dropout", "0.1"),
    "--class_balanced True: needs a class-conditional network": ("--noconditional",),
    "is smaller than the number of processes": ("--accumulate", "9"),
    "must be below --sample_sigma_max": ("--sample_sigma_min", "30"),
    "invalid choice 'linear'": ("--lr_decay", "linear"),
    "invalid choice 'big'": ("--preset", "big"),
    "Match that file": ("--restore", "other.safetensors"),
    "no such file": ("--restore", "missing.pth"),
    "unknown device": ("--device", "tpu"),
}
SOURCES = {
    "No NPZ files found": ("--npz_dir", "empty"),
    "No images found in": ("--imagenet_dir", "empty"),
    "no such data set or path": ("--data", "digts"),
    "these images have no classes": ("--data", "photos32"),
    "no class folder is a synset": ("--imagenet_dir", "pets"),
    "split directory not found": ("--imagenet_dir", "pets", "--split", "val"),
    "not a complete zip file": ("--imagenet_dir", "broken.zip"),
    "cannot be read from a .zip": ("--data", "broken.zip"),
    "labels run 0 .. 2": ("--npz_dir", "zero"),
    "--resize: acts on arrays, which are not read here": ("--imagenet_dir", "pets", "--resize", "lanczos"),
    "--class_map: acts on folders of npz batches or images": ("--data", "digits", "--class_map", "short.json"),
}


@pytest.fixture(autouse=True)
def made(here):
    import numpy as np

    from tests.common.datasets.imagenet_files import jpeg

    (here / "empty").mkdir()
    (here / "pets" / "cat").mkdir(parents=True)
    (here / "pets" / "cat" / "a.jpg").write_bytes(jpeg())
    (here / "broken.zip").write_bytes(b"PK no")
    (here / "zero").mkdir()
    np.savez(here / "zero" / "train_data_batch_1.npz", data=np.zeros((3, 192), np.uint8), labels=np.arange(3))
    (here / "short.json").write_text(json.dumps([1, 0]))
    save_network(here / "other.safetensors", label_dim=3, model_channels=32, channel_mult_emb=1, attn_resolutions=())
    return here


@pytest.mark.parametrize("what", MISTAKES)
def test_mistakes_take_one_line_and_write_nothing(what, made):
    words = list(TINY)
    if what == "no images given":
        del words[words.index("--npz_dir") : words.index("--npz_dir") + 2]
    else:
        words += MISTAKES[what]
    assert what in refusal_of("train_edm", *words, "--output_dir", "out", "--quiet")
    assert not (made / "out").exists()


@pytest.mark.parametrize("what", SOURCES)
def test_sources_that_hold_no_images_take_one_line(what, made):
    assert what in refusal_of("train_edm", *SOURCES[what], "--output_dir", "out", "--quiet")
    assert not (made / "out").exists()


CHANGED = {
    "has seed 0, this command has 1": ("--seed", "1"),
    "has steps 3, this command has 2": ("--steps", "2"),
    "has batch_size 8, this command has 4": ("--batch_size", "4"),
    "has model_channels 16, this command has 32": ("--model_channels", "32"),
    "has steps of the cosine 3, this command has 4": ("--steps", "4"),
    "has source": ("--npz_dir", "more"),
}


def test_another_job_in_the_folder_is_refused(made):
    from tests.tools.train_edm.runs import write_colours

    train("--steps", "3")
    write_colours(made / "more", each=7)
    before = contents("out")
    for what, words in CHANGED.items():
        assert what in refusal_of("train_edm", *TINY, "--steps", "3", "--output_dir", "out", *words, "--quiet")
    assert contents("out") == before


def test_a_checkpoint_of_another_architecture_or_past_the_end_is_refused(made):
    train("--steps", "3")
    record = read_json(made / "out" / "run.json")
    kept = ("status", "tool", "command", "owns")

    def killed(**changes):
        write_json(made / "out" / "run.json", {**{name: record[name] for name in kept}, "status": "running",
                                               "options": {**record["options"], "steps": 2, **changes}})

    killed(num_blocks=2)
    assert "is missing" in refusal_of("train_edm", *TINY, "--steps", "3", "--output_dir", "out", "--num_blocks", "2",
                                      "--quiet")
    killed()
    assert "this run is already at step 3" in refusal_of("train_edm", *TINY, "--steps", "2", "--output_dir", "out",
                                                         "--quiet")
    (made / "out" / "checkpoint.pth").write_bytes((made / "out" / "checkpoint.pth").read_bytes()[:5000])
    assert "truncated" in refusal_of("train_edm", *TINY, "--steps", "3", "--output_dir", "out", "--quiet")


@pytest.mark.parametrize(("name", "value"), [
    ("step", [3]), ("step", None), ("losses", 1.5), ("losses", [[1]]), ("adam", []), ("model", 1.5), ("ema", None)])
def test_a_state_of_other_values_is_refused(name, value, tmp_path):
    path = edm_state(tmp_path)
    torch.save({**torch.load(path, weights_only=True), name: value}, path)
    with pytest.raises(InputError):
        load_state(path, *edm_training())


def test_samples_among_the_images_are_refused(made):
    """But for places that the split leaves out."""
    words = ["--data", "pets", "--noconditional", "--noclass_balanced", "--resolution", "8", "--dry_run", "--quiet",
             "--device", "cpu"]
    line = refusal_of("train_edm", *words, "--output_dir", "pets/out")
    assert "--output_dir pets/out: is inside the folder of images pets" in line
    (made / "pets" / "train").mkdir()
    (made / "pets" / "cat").rename(made / "pets" / "train" / "cat")
    for place, status in (("pets/out", 0), ("pets/train/out", 2), ("pets/.out", 0)):
        assert call_tool("train_edm", *words, "--output_dir", place).status == status, place
