"""The names in the results of `--json` are those on the tool's page: all that a command gives, and none that it never
gives.

Every command runs once, small.
"""

import json
import re

import numpy as np
import pytest

from tests import documents
from tests.tools.commands import call_tool
from tests.tools.every_command import COMMANDS, CPU, EVALUATE, EXPLAIN, SMALL, make_inputs

# Commands beyond those of every_command.py, after which they run.
MORE = {
    "qc_ncsn": [("eval", "dsm", *EVALUATE, "--dataset", "in/digits", "--num_images", "2"),
                ("eval", "encode", "--workdir", "./out", "--features", "small", "--encode_dataset", "--dataset",
                 "in/digits", *CPU),
                ("eval", "fidis", "--workdir", "./out"), ("eval", "prdc", "--workdir", "./out", "--nearest_k", "1"),
                ("eval", "nfe", "--workdir", "./out"),
                ("convert", "--checkpoint", "in/score.pth", "--output", "out/s.safetensors"),
                ("compare", "--workdirs", "./out", "--output_dir", "out/compared")],
    "setup_fid": [("list", "--stats_dir", "out"), ("cache", "--cache_gb", "1"),
                  ("show", "mine", "--stats_dir", "out"), ("compare", "mine", "mine", "--stats_dir", "out")],
    "compute_fid": [("fast", "in/images", "--reference", "in/real", *SMALL),
                    ("clean", "in/images", "--reference", "in/real", "--metrics", "fid,prdc,mind,vendi",
                     "--nearest_k", "1", *SMALL)],
    "extract_subimages": [("inspect", "out", "--preview", "0")],
    "blobex_inv_cf": [("sweep", *("sweep" if word == "out" else word for word in EXPLAIN), "--max_images", "1",
                       "--learning_rate_cf", "0.1", "--n_iters_cf", "1", "--lambda_prox_cf", "0")],
    "calibrate_rcps": [("apply", "--calibration", "out", "--outputs", "one=in/outputs.npz", "--output_dir", "applied"),
                       ("figures", "--calibration", "out", "--outputs", "one=in/outputs.npz", "--output_dir", "drawn"),
                       ("validate", "--outputs", "in/outputs.npz", "--dims", "all"),
                       ("make-synthetic", "--base_dir", "made", "--num_images", "20", "--num_dims", "40"),
                       ("simulate", "--repetitions", "2", "--num_images", "20")],
    "process_embeddings": [],
}
# Names on a page that the small runs above do not give, and what gives them.
WITH_OTHER_OPTIONS = {
    "generate_ffhq": {"verified"},
    "setup_fid": {"found", "broken", "missing", "folder"},
    "train_blobgan": {"best_checkpoint", "fid"},
    "train_decision_model": {"top1_accuracy", "reasons", "mean_reason_accuracy", "temperature", "ece_before",
                             "ece_after"},
    "train_encoder": {"lpips"},
}


def page(tool):
    """Return the text of a tool's page."""
    return (documents.ROOT / "docs" / f"{tool}.md").read_text(encoding="utf-8")


def names_on(text):
    """Return the names in code on a page, and the patterns among them (`agreement_NAME`, `mean_*`) as expressions."""
    cells = {word for code in re.findall(r"`([^`\n]+)`", text) for word in re.findall(r"[\w*]+", code)}
    return {re.compile(re.sub(r"NAME|\*", r"\\w+", word)) for word in cells if re.fullmatch(r"[a-zA-Z]\w*\*?\w*", word)}


def promised(text):
    """Return the names that a page's sentences about the results list, up to the next empty line."""
    paragraphs = re.findall(r"(?:`--json` results|^`results`|results on stdout):(.*?)(?:\n\n|\Z)", text,
                            re.DOTALL | re.MULTILINE)
    return {name for part in paragraphs for name in re.findall(r"`([a-z]\w*)`(?!:)", part)}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The inputs of all commands, made once."""
    return make_inputs(tmp_path_factory.mktemp("made"))


@pytest.mark.long
@pytest.mark.parametrize("tool", documents.TOOLS)
def test_the_names_in_the_results_are_those_on_the_page(tool, made, own_folder, monkeypatch):
    from tools.process_embeddings import embed

    monkeypatch.setattr(embed, "fit_map", lambda features, *rest: (None, np.ascontiguousarray(features[:, : rest[3]])))
    given, text = {}, page(tool)
    base = [command.words for command in COMMANDS.values() if command.tool == tool]
    for number, words in enumerate([*base, *MORE.get(tool, [])]):
        place = own_folder / str(number if number < len(base) and tool != "qc_ncsn" else 0)
        if not place.exists():
            place.mkdir()
            (place / "in").symlink_to(made)
        monkeypatch.chdir(place)
        ended = call_tool(tool, *words, "--json", "--quiet")
        assert ended.status == 0, (words, ended.err)
        given[" ".join(words[:2])] = set(json.loads(ended.out)["results"])
    patterns = names_on(text)
    unnamed = {command: sorted(name for name in names if not any(pattern.fullmatch(name) for pattern in patterns))
               for command, names in given.items()}
    assert not {command: names for command, names in unnamed.items() if names}, unnamed
    everything = set().union(*given.values()) | WITH_OTHER_OPTIONS.get(tool, set())
    assert promised(text) - everything == set()
