"""Damaged files of every kind that a command reads: read, or refused in one line; no hang, no gigabytes, no traceback.

The readings run in a process of their own (tests.readers.survey), with 2 GB of memory and 10 seconds for each.
"""

import ast
import importlib.util
import json
import os
import subprocess
import sys

import pytest

from tests.readers.kinds import KINDS
from tests.test_layout import sources
from tests.tools.commands import ROOT, environment

NEEDS = {"lmdb": "lmdb", "parquet": "pyarrow"}
PATHS = {"path", "paths", "place", "source", "file", "folder", "archive", "stream", "data", "root", "name"}
UNMET = {  # readers that hand on to others which are met, but for the last line, which other tests damage
    "common/activations/run.py": {"open_network"}, "common/datasets/imagenet/image_set.py": {"read_file"},
    "common/datasets/dlas/torch_sets.py": {"open_mnist_set", "open_cifar_set", "open_imagenet_set",
                                           "open_class_folders"},
    "common/datasets/prepared.py": {"open_prepared"}, "common/datasets/sets/embedded.py": {"open_embedded"},
    "common/datasets/sets/folders.py": {"open_folder"}, "common/datasets/sets/locate.py": {"read_pickled_batch"},
    "common/datasets/sets/mnist.py": {"open_mnist"}, "common/features/sources.py": {"read_array"},
    "common/images/opencv.py": {"read_image"}, "common/images/pil_transforms.py": {"open_image"},
    "common/networks/inception_weights.py": {"load_inception"}, "tools/compute_fid/sides.py": {"open_source"},
    "tools/evaluate_cf/read.py": {"open_gan", "open_images"}, "tools/extract_subimages/chunks.py": {"read_source"},
    "tools/extract_subimages/records.py": {"read_about"}, "tools/qc_ncsn/evaluate/stored.py": {"open_generated"},
    "tools/train_edm/batches.py": {"open_cache"}, "tools/train_quantile_encoder/material.py": {"open_generator"},
    "common/formats/lmdb_files.py": {"open_lmdb"}, "tools/train_blobgan/start.py": {"load_weights", "load_state"},
    "common/explained/segmentation.py": {"open_deeplab"}, "common/explained/opening.py": {"open_pictures"},
    "common/features/archives.py": {"open_archive"},
}


def run(tmp_path, module, *words):
    """Run a module of tests.readers in a process of its own."""
    variables = {**environment(), "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.getenv("PYTHONPATH")])]),
                 "GENPROBE_CACHE": str(tmp_path / "cache")}
    words = [sys.executable, "-m", f"tests.readers.{module}", tmp_path / "files", *words]
    return subprocess.run(list(map(str, words)), cwd=tmp_path, env=variables, capture_output=True, text=True,
                          timeout=900, check=False)


def installed(kinds):
    return [kind for kind in kinds if kind not in NEEDS or importlib.util.find_spec(NEEDS[kind])]


def survey(tmp_path, first, count, kinds):
    """Return {kind: line} of the survey's answers."""
    kinds = installed(kinds)
    done = run(tmp_path, "survey", first, count, *kinds)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["kind"] for row in rows] == kinds, f"it ended within the next kind:\n{done.stderr[-3000:]}"
    assert done.returncode == 0
    return {row["kind"]: row for row in rows}


def check(rows):
    broken = {kind: row["broken"] for kind, row in rows.items() if row["broken"]}
    assert not broken, "\n".join(f"{kind}: {said[0]}" for kind, said in broken.items())


def test_R3_R5_R6_a_few_damaged_files_of_every_kind(tmp_path, tally):
    rows = survey(tmp_path, 0, 1, KINDS)
    tally("damaged files", len(rows))
    check(rows)
    assert sum(row["refused"] > 0 for row in rows.values()) > len(rows) * 3 // 4


@pytest.mark.long
def test_every_reader_is_met_by_a_kind(tmp_path):
    """So that a new one cannot be forgotten: functions called read_, load_ or open_ of a file."""
    done = run(tmp_path, "met", *installed(KINDS))
    assert done.returncode == 0, done.stderr[-2000:]
    met = {tuple(pair) for pair in json.loads(done.stdout)}
    for path, tree in sources("common", "tools"):
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.name.split("_")[0] in ("read", "load", "open") \
                    and node.args.args and node.args.args[0].arg in PATHS:
                known = node.name in UNMET.get(str(path), ())
                assert known or (str(path), node.name) in met, f"{path}: no kind of file meets {node.name}"


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_R3_R5_R6_two_hundred_damaged_files(kind, tmp_path, tally):
    rows = survey(tmp_path, 1000, 200, [kind])
    tally("damaged files", 200 * len(rows))
    tally("damaged files, read in every way", sum(row["readings"] for row in rows.values()))
    check(rows)
