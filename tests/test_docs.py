"""What README and docs tell a user to type works: every block is executed, run dry, or understood by its tool's parser.

`python -m tests.documents` prints how many of each there are.
"""

import ast
import dataclasses
import importlib
import re
import shlex
import shutil

import pytest
import yaml

from common.options import CommonOptions
from tests import documents
from tests.document_inputs import ELSEWHERE, PAGES
from tests.documents import Misunderstood, blocks, check_other, lines_of, tool_words, understand
from tests.tools.commands import call_tool

SHELL = [block for block in blocks() if block.is_shell]
COMMON = {item.name for item in dataclasses.fields(CommonOptions)}
# Named where they are compared with a flag, or belong to what a page tells to run before or after its own tool.
FOREIGN = {
    "all": {"nproc_per_node", "help"},
    "compute_fid": {"dims", "feature_layer_fid", "kid", "sfid"},  # pytorch-fid, torch-fidelity; setup_fid twice
    "evaluate_cf": {"fit", "num_diverse", "search_on"},  # setup_fid, blobex_inv_cf
    "process_embeddings": {"label_mode"},  # extract_real_imagenet
    "setup_fid": {"dataset_name"},  # compute_fid
    "train_blobgan": {"feature_jitter_"},  # the beginning of five
    "train_edm": {"checkpoint_path", "guidance", "method", "num_steps", "sigma_max", "sigma_min", "weights"},
    "extract_subimages": {"quality"},  # another spelling of --compression_level
}


@pytest.fixture
def option_files(own_folder):
    """The same with the files of options that pages name, which are read before a command's flags are known."""
    (own_folder / "extract.yaml").write_text("input_folder: photos\nthres_sz: 64\n")
    (own_folder / "own.yaml").write_text("model:\n  lr: 0.002\n")
    return own_folder


def wrong_with(line):
    """Return what is wrong with a command of a page; "" where nothing is."""
    try:
        if tool_words(line.text):
            understand(line.text)
        else:
            check_other(line.text)
    except Misunderstood as error:
        unfinished = "missing required flag" in str(error) or "expected a value" in str(error)
        return "" if line.place == "text" and unfinished else f"{line.where}: {line.text}: {error}"
    return ""


def test_every_command_of_pages_and_helps_is_understood(option_files):
    """Within a line of text a command may leave out what it is not about: flags that are required, a last value."""
    lines = documents.all_lines()
    assert len(lines) > 200
    wrong = [said for said in map(wrong_with, lines) if said]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("text", [
    "train_edm --data digits --stepz 3", "train_edm --data digits --steps few", "train_edm --data digits --steps 0",
    "qc_ncsn sample --workdir u --method heunn", "blobex_inv_cf --target_blobs 4", "compute_fid cleen a",
    "torchrun --nprocs 2 -m tools.train_edm --data digits", "make tabels", "make demo DEMOS=x", "python -m tools.fid"])
def test_a_wrong_flag_value_or_word_is_noticed(text):
    assert wrong_with(documents.Line("here", text, "block"))


def test_a_command_without_its_data_names_what_is_missing_and_writes_nothing(option_files):
    """So flags that exclude each other are noticed, too. Commands that need no files are executed below."""
    seen = 0
    for block in SHELL:
        for line in lines_of(block):
            found = tool_words(line.text)
            if not found or needs_nothing(found):
                continue
            ended = call_tool(found[0], *found[1], "--dry_run", "--quiet")
            assert ended.status == 2, (line, ended)
            assert re.search(r"no such|no statistics|no run|missing|no checkpoint|no encoded|not found|no activations"
                             r"|not evaluated", ended.err), (line, ended.err)
            seen += 1
    assert seen > 60
    assert {path.name for path in option_files.iterdir()} == {"extract.yaml", "own.yaml"}


def needs_nothing(found):
    """Whether a command takes embedded data alone, or only lists."""
    words = " ".join([found[0], *found[1]])
    return bool(re.search(r"--data (digits|photos32) |u_digits --workdir|encode_dataset --dataset digits|make-synthetic"
                          r"|photos32 --split|setup_fid (list|cache)", words))


@pytest.mark.parametrize("block", [block for block in blocks() if block.language == "python"],
                         ids=lambda block: f"{block.page}:{block.line}")
def test_the_python_of_a_page_can_be_read_and_what_it_imports_is_there(block):
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in ("common", "tools"):
            module = importlib.import_module(node.module)
            for name in node.names:
                assert hasattr(module, name.name) or importlib.import_module(f"{node.module}.{name.name}")


def test_yaml_of_pages_can_be_read():
    read = [yaml.safe_load(block.text) for block in blocks() if block.language == "yaml"]
    assert read
    assert all(isinstance(value, dict) for value in read)


def flags_of(tool):
    """Return {name of a flag: whether it is given as a bare word} over all commands of a tool."""
    return {item.name: bool(item.metadata.get("word")) for own, _, options, _ in documents.helps().values()
            if own == tool for item in dataclasses.fields(options)}


@pytest.mark.parametrize("tool", documents.TOOLS)
def test_every_flag_is_on_its_tools_page_and_no_flag_there_is_unknown(tool):
    text = "".join(path.read_text(encoding="utf-8") for path in documents.PAGES if path.stem in (tool, f"{tool}_keys"))
    named = {name.replace("-", "_") for name in re.findall(r"(?<![\w-])--([a-zA-Z][\w-]*)", text)}
    flags = flags_of(tool)
    positive = {each for name in named for each in (name, name.removeprefix("no_"), name.removeprefix("no"))}
    assert {name for name, word in flags.items() if not word} - positive - COMMON == set()
    known = {*flags, *FOREIGN["all"], *FOREIGN.get(tool, ()), "config"}
    assert {name for name in named if not {name, name.removeprefix("no_"), name.removeprefix("no")} & known} == set()


def test_every_page_of_blocks_that_is_executed_is_there():
    pages = {block.page for block in SHELL}
    assert set(PAGES) <= pages
    assert {where.split(":")[0] for where in ELSEWHERE} <= pages


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The inputs of all commands, made once."""
    from tests.tools.every_command import make_inputs

    return make_inputs(tmp_path_factory.mktemp("made"))


@pytest.mark.long
@pytest.mark.parametrize("name", PAGES)
def test_the_commands_of_a_page_run_to_their_end_on_small_data(name, made, own_folder):
    page = PAGES[name]
    page.prepare(own_folder, made)
    lines = [line for block in SHELL if block.page == name for line in lines_of(block)]
    assert {*page.words, *page.skipped} <= set(range(len(lines)))
    for number, line in enumerate(lines):
        if number not in page.skipped:
            tool, words = tool_words(line.text)
            ended = call_tool(tool, *words, *page.words.get(number, ()), "--quiet")
            assert ended.status == 0, (line.text, ended.err)
    shutil.rmtree(own_folder, ignore_errors=True)


def test_a_command_is_taken_apart_as_a_shell_does():
    block = documents.Block("page", 1, "", 'a --b "c d" \\\n  --e # f\nA=1 g && h\n')
    assert [shlex.split(line.text) for line in lines_of(block)] == [["a", "--b", "c d", "--e"], ["A=1", "g"], ["h"]]


def test_the_counts_of_the_pages_are_those_of_the_blocks():
    counted = documents.count()
    assert sum(number for name, number in counted.items() if name.startswith("blocks")) == len(blocks())
    assert sum(map(len, documents.fates().values())) == len(documents.all_lines())
    assert counted["commands, executed on small data"] > 40
