"""Exported programs give their modules' results, and nothing in them runs but operators."""

import io
import json
import pickle
import shutil
import zipfile

import pytest
import torch

from common.errors import InputError
from common.formats.exported_program import ARITHMETIC, ExportedProgram
from common.generators import open_generator
from tests.common.programs import WIDTH, Quiet, Small, exported


@pytest.mark.parametrize("decomposed", [False, True])
@pytest.mark.parametrize("module", [Small(), Quiet()])
def test_a_program_gives_what_its_module_gives(module, decomposed, tmp_path):
    """Within the batches that it was exported for; decomposed programs are made of fewer, more basic operators."""
    batch = torch.export.Dim("batch", min=2, max=5)
    program = torch.export.export(module.eval(), (torch.randn(3, WIDTH),), dynamic_shapes=({0: batch},))
    torch.export.save(program.run_decompositions() if decomposed else program, tmp_path / "g.pt2")
    read = ExportedProgram(tmp_path / "g.pt2")
    assert (read.batch, read.input_shape, read.dtype) == ((2, 5), (WIDTH,), torch.float32)
    for count in (2, 5):
        codes = torch.randn(count, WIDTH)
        with torch.no_grad():
            torch.testing.assert_close(read(codes), module(codes))
    assert open_generator(tmp_path / "g.pt2").generate(range(11), 0).shape == (11, 3, 8, 8)  # in pieces


def test_a_program_for_one_batch_size_says_so(tmp_path):
    assert ExportedProgram(exported(tmp_path / "g.pt2", Small(), batch=4)).batch == (4, 4)


def test_weights_may_share_their_bytes(tmp_path):
    module = Small()
    module.norm.bias = module.norm.weight
    read = ExportedProgram(exported(tmp_path / "g.pt2", module))
    codes = torch.randn(2, WIDTH)
    with torch.no_grad():
        torch.testing.assert_close(read(codes), module(codes))


def changed(source, target, change):
    """Copy an archive with its members changed: change(name, data) -> data."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name.partition("/")[2], old.read(name)))
    return target


class Runs:
    """Makes a file named `ran` when it is unpickled."""

    def __reduce__(self):
        return open, ("ran", "w")


def edited(function):
    """Return a change that edits the program's JSON."""

    def change(name, data):
        if name != "models/model.json":
            return data
        program = json.loads(data)
        function(program, program["graph_module"]["graph"])
        return json.dumps(program).encode()

    return change


def in_expression(program, graph):
    size = graph["tensor_values"]["z"]["sizes"][0]
    size["as_expr"]["expr_str"] = "open('ran', 'w')"


def in_other_expressions(program, graph):
    for meta in graph["tensor_values"].values():
        for size in meta["sizes"] if meta is not graph["tensor_values"]["z"] else ():
            if "as_expr" in size:
                size["as_expr"]["expr_str"] = "open('ran', 'w')"


def in_node(target, text=None):
    def edit(program, graph):
        graph["nodes"][0]["target"] = target
        if text:
            graph["nodes"][0]["inputs"] = [{"name": "command", "arg": {"as_string": text}, "kind": 1}]

    return edit


def in_name(program, graph):
    text = json.dumps(program).replace('"z"', json.dumps("z=open('ran', 'w')"))
    program.clear()
    program.update(json.loads(text))


def in_inputs(name, data):
    return pickle.dumps(Runs()) if name.startswith("data/sample_inputs") else data


def in_weights(name, data):
    if name == "data/weights/weight_0":
        stream = io.BytesIO()
        torch.save({"x": Runs()}, stream)
        return stream.getvalue()
    return data.replace(b'"use_pickle": false', b'"use_pickle": true') if name.endswith("weights_config.json") else data


@pytest.mark.parametrize(("change", "refused"), [
    (edited(in_expression), "batch size is neither fixed nor free"), (edited(in_other_expressions), None),
    (edited(in_node("torch.os.system", "touch ran")),
     "asks for torch.os.system; only ATen operators on dense tensors are run, and nothing was yet"),
    (edited(in_node("torch.ops.aten.from_file.default", "ran")), "asks for torch.ops.aten.from_file.default"),
    (edited(in_node("torch.ops.aten.save.default", "ran")), "asks for torch.ops.aten.save.default"),
    (edited(in_node("torch.ops.aten._print.default", "on stdout")), "asks for torch.ops.aten._print.default"),
    (edited(in_node("torch.ops._c10d_functional.broadcast.default")), "asks for torch.ops._c10d_functional.broadcast"),
    (edited(in_node("torch.ops.higher_order.cond")), "asks for torch.ops.higher_order.cond"),
    (edited(in_node("torch.ops.aten.__class__.mro")), "asks for torch.ops.aten.__class__.mro"),
    (edited(in_name), None), (in_inputs, None), (in_weights, "asks for the pickled object (io|_io).open"),
    (edited(lambda program, graph: program.update(schema_version={"major": 9, "minor": 0})), "schema 9, expected 8"),
    (edited(lambda program, graph: graph.pop("nodes")), "not a torch.export program that can be read"),
    (edited(lambda program, graph: graph["outputs"].clear()),
     "not a torch.export program that can be read|fails on codes"),
    (lambda name, data: data[:-8] if name == "data/weights/weight_0" else data,
     "not a torch.export program that can be read"),
])
def test_nothing_in_an_exported_program_runs_but_operators(change, refused, tmp_path, monkeypatch):
    """Where torch.export.load would run the file's code: expressions, node targets, names, pickles."""
    monkeypatch.chdir(tmp_path)
    path = changed(exported(tmp_path / "good.pt2", Small()), tmp_path / "bad.pt2", change)
    if refused:
        with pytest.raises(InputError, match=refused):
            open_generator(path)
    else:
        assert torch.equal(open_generator(path).generate([1], 0),
                           open_generator(tmp_path / "good.pt2").generate([1], 0))
    assert not (tmp_path / "ran").exists()


def test_arithmetic_on_sizes_ends():
    """7^(2^62) would not, nor a number squared sixty times, nor a list repeated."""
    power, times = ARITHMETIC["_operator.pow"], ARITHMETIC["_operator.mul"]
    assert (power(3, 4), times(3, 4)) == (81, 12)
    for function, numbers in ((power, (7, 1 << 62)), (times, (1 << 64, 2)), (times, ([1], 10**10)),
                              (ARITHMETIC["_operator.lshift"], (1, 1 << 40))):
        with pytest.raises(ValueError, match="not a size"):
            function(*numbers)


def test_a_compiled_library_in_an_archive_is_not_loaded(tmp_path):
    path = shutil.copy(exported(tmp_path / "good.pt2", Small()), tmp_path / "bad.pt2")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("good/data/aotinductor/model/model.so", b"\x7fELF")
    assert open_generator(path).generate([0], 0).shape == (1, 3, 8, 8)
