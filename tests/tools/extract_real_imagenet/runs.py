"""Short extractions, as from the command line, and what they wrote."""

import json

from tests.tools.commands import call_tool, results_of

NETWORK = ("--checkpoint_path", "network.safetensors", "--device", "cpu")
ACTIVATIONS_ALONE = ("--images", "none", "--noreconstructions")


def extract(*words, out="data"):
    """Extract activations alone with network.safetensors; returns the results."""
    return results_of("extract_real_imagenet", *NETWORK, *ACTIVATIONS_ALONE, "--output_dir", out, *words)


def said(*words, out="data"):
    """Return what a good extraction says on stderr."""
    ended = call_tool("extract_real_imagenet", *NETWORK, *ACTIVATIONS_ALONE, "--output_dir", out, *words)
    assert ended.status == 0, ended.err
    return ended.err


def info(out="data"):
    """Return dataset_info.json."""
    with open(f"{out}/metadata/imagenet_real/dataset_info.json", encoding="utf-8") as stream:
        return json.load(stream)


def classes_of(out="data"):
    """Return {original_path: (class number, label, name)} of the samples."""
    return {sample["original_path"]: (sample["class_label"], sample["synset_id"], sample["class_name"])
            for sample in info(out)["samples"]}
