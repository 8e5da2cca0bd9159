"""The commands of the users' documents, as they write them, with only the program's name changed."""

import importlib
import re
import shlex
from pathlib import Path

import pytest

from common.errors import InputError
from common.parser import parse
from tests.tools.commands import call_tool

LIST = Path(__file__).with_name("document_commands.txt")
# The program as the documents call it -> tool, words of the subcommand, module and options of the tool.
PROGRAMS = {
    "main.py": ("qc_ncsn", ["train"], "tools.qc_ncsn.train.command", "TrainOptions"),
    "run_lib_evaluation_nll.py": ("qc_ncsn", ["eval", "nll"], "tools.qc_ncsn.evaluate.nll", "NllOptions"),
    "run_lib_evaluation_asym.py": ("qc_ncsn", ["eval", "asym"], "tools.qc_ncsn.evaluate.asym", "AsymOptions"),
    "run_lib_sampling.py": ("qc_ncsn", ["sample"], "tools.qc_ncsn.sample.command", "SampleOptions"),
    "run_lib_evaluation_fidis.py": ("qc_ncsn", ["eval", "encode"], "tools.qc_ncsn.evaluate.encode", "EncodeOptions"),
    "scripts/setup_fid.py": ("setup_fid", [], "tools.setup_fid.__main__", "SetupOptions"),
    "compute_fast_fid.py": ("compute_fid", ["fast"], "tools.compute_fid.__main__", "FastOptions"),
    "compute_clean_fid.py": ("compute_fid", ["clean"], "tools.compute_fid.__main__", "CleanOptions"),
    "scripts/load_model.py": ("generate_blobgan", [], "tools.generate_blobgan.__main__", "GenerateOptions"),
    "extract_real_imagenet.py": ("extract_real_imagenet", [], "tools.extract_real_imagenet.__main__",
                                 "ExtractOptions"),
    "generate_dataset.py": ("generate_dataset", [], "tools.generate_dataset.__main__", "GenerateOptions"),
    "process_embeddings.py": ("process_embeddings", [], "tools.process_embeddings.__main__", "MapOptions"),
    "scripts/extract_subimages_with_ref.py": ("extract_subimages", [], "tools.extract_subimages.options",
                                              "SubimageOptions"),
    "extension_experiments/utils/generate_outputs_npz.py": ("generate_outputs_npz", [],
                                                            "tools.generate_outputs_npz.__main__", "OutputsOptions"),
    "pretrain_encoder.py": ("train_encoder", ["pretrain"], "tools.train_encoder.options", "PretrainOptions"),
    "train_encoder.py": ("train_encoder", ["train"], "tools.train_encoder.options", "TrainOptions"),
    **{f"blobex_inv_cf{name}.py": ("blobex_inv_cf", [], "tools.blobex_inv_cf.options", "ExplainOptions")
       for name in ("", "_target_blobs", "_diversity")},
}
LATER = {"src/run.py"}  # words of Hydra: tests/tools/train_blobgan
ACTIONS = {"--fidis": ("fidis", "tools.qc_ncsn.evaluate.stored_scores", "FidisOptions"),
           "--prdc": ("prdc", "tools.qc_ncsn.evaluate.stored_scores", "PrdcOptions")}


def commands():
    """Return the lines of the list without comments."""
    return [line.split("#")[0].strip() for line in LIST.read_text().splitlines() if line.split("#")[0].strip()]


def translated(line):
    """Return (tool, subcommand, module, name of its options, words) of a document's command, None for tools to come."""
    words = shlex.split(re.sub(r"^(\w+=\S+ )*python3? ", "", line))
    program, words = words[0], words[1:]
    if program in LATER:
        return None
    tool, subcommand, module, name = PROGRAMS[program]
    for word, (action, action_module, options) in ACTIONS.items():
        if word in words and program == "run_lib_evaluation_fidis.py":
            subcommand, module, name = ["eval", action], action_module, options
    return tool, subcommand, module, name, words


@pytest.mark.parametrize("line", [line for line in commands() if translated(line)])
def test_every_flag_of_a_documents_command_is_understood(line):
    tool, subcommand, module, name, words = translated(line)
    options = parse(getattr(importlib.import_module(module), name), words, " ".join([tool, *subcommand]))
    for word in words:  # the value arrives
        if word.startswith("-") and "=" not in word and word.lstrip("-") in vars(options):
            assert getattr(options, word.lstrip("-")) not in (None, []), word


@pytest.mark.parametrize("line", [line for line in commands() if translated(line)])
def test_what_is_missing_for_a_documents_command_is_named_and_nothing_is_written(line, own_folder):
    tool, subcommand, module, name, words = translated(line)
    has_device = "device" in getattr(importlib.import_module(module), name).__dataclass_fields__
    ended = call_tool(tool, *subcommand, *words, *(["--device", "cpu"] if has_device else []))
    assert ended.status == 2, ended.err
    assert "unknown flag" not in ended.err
    assert ended.err.count("error: ") == 1
    assert not list(own_folder.rglob("run.json"))


def test_a_network_that_the_documents_leave_out_is_the_one_in_checkpoints(own_folder):
    from common.activations.run import checkpoint_or_default

    with pytest.raises(InputError, match="no imagenet_.*Name the file"):
        checkpoint_or_default(None)
    (own_folder / "checkpoints").mkdir()
    (own_folder / "checkpoints" / "imagenet_fid2.34.pth").touch()
    assert checkpoint_or_default(None) == "checkpoints/imagenet_fid2.34.pth"
    (own_folder / "checkpoints" / "imagenet_other.pth").touch()
    with pytest.raises(InputError, match="2 files imagenet_"):
        checkpoint_or_default(None)
