"""Reading and running torch.export programs (.pt2) without running anything but ATen operators.

torch.export.load is not used: in torch 2.13 a file can run code through it. It unpickles what the archive says is
pickled, hands size expressions to sympy, which evaluates them as Python, calls whatever function of the torch package
a node names, compiles names of the file as source, and loads compiled libraries that lie in the archive. Here the
program is data: its JSON graph (torch/_export/serde/schema.py, version 8) is walked node by node, each node an ATen
operator that computes (see script_module.py) or arithmetic on sizes; weights are raw bytes, and the few pickled tensors
that exist are read as checkpoints are. Sizes come from the tensors themselves, so no expression is ever evaluated.
"""

import functools
import io
import json
import math
import operator
import re

import torch

from common.errors import InputError
from common.formats.checkpoints import read_torch
from common.formats.script_module import computes
from common.formats.tensors import aligned
from common.formats.unpickle import Refused
from common.formats.zips import open_zip, zip_errors

DTYPES = {1: torch.uint8, 2: torch.int8, 3: torch.int16, 4: torch.int32, 5: torch.int64, 6: torch.float16,
          7: torch.float32,
          8: torch.float64, 9: torch.complex32, 10: torch.complex64, 11: torch.complex128, 12: torch.bool,
          13: torch.bfloat16}
MEMORY_FORMATS = {1: torch.contiguous_format, 2: torch.channels_last, 3: torch.channels_last_3d,
                  4: torch.preserve_format}
STRIDED = 7  # the one layout that is read
LONGEST = 1 << 63  # from here on a number is not a size


def _of_sizes(function):
    """Return a function of numbers with bounded ones: powers of powers would never be done."""
    def bounded(*numbers):
        if not all(isinstance(number, (int, float)) and abs(number) < LONGEST for number in numbers):
            raise ValueError("arithmetic on something that is not a size")
        if function in (operator.pow, operator.lshift) and numbers[1] > 64:
            raise ValueError("arithmetic on something that is not a size")
        return function(*numbers)

    return bounded


# What a program may do with sizes.
ARITHMETIC = {f"_operator.{name}": _of_sizes(getattr(operator, name)) for name in (
    "eq", "ne", "le", "ge", "lt", "gt", "neg", "pos", "mul", "add", "sub", "floordiv", "mod", "pow", "truediv", "and_",
    "or_", "lshift", "rshift")}
ARITHMETIC |= {"_operator.getitem": operator.getitem, "math.trunc": _of_sizes(math.trunc),
               "torch.sym_max": _of_sizes(max), "torch.sym_min": _of_sizes(min), "torch.sym_int": _of_sizes(int),
               "torch.sym_float": _of_sizes(float), "torch.sym_not": operator.not_}


class ExportedProgram:
    """A program that maps one tensor to one tensor, or to several.

    input_shape: the input's shape less its batch.  batch: (smallest, largest) batch, largest None for no limit; equal
    where the program was exported for one batch size.  dtype: the input's.
    several: the output may be several tensors: a call returns {name: tensor}, the names from the program's dictionary,
    else "0", "1", ...
    """

    def __init__(self, path, device="cpu", several=False):
        self.path, self.device, self.several = path, torch.device(device), several
        broken, do = "not a torch.export program that can be read", "Export it again with torch.export.save"
        with zip_errors(path, broken, do, (TypeError,)), open_zip(path, broken) as archive:
            members = _members(archive)
            whole = json.loads(archive.read(members["models/model.json"]))
            _check_version(whole, path)
            tensors = {**self._tensors(archive, members, "constants"), **self._tensors(archive, members, "weights")}
            self._build(whole, tensors)

    def __call__(self, x):
        """Return the program's output for x (batch, *input_shape), without gradients; what its operators raise is
        passed on."""
        with torch.no_grad():
            return self.differentiable(x)

    def differentiable(self, x):
        """Return the same with a derivative with respect to x. Parts of the program under torch.no_grad have none."""
        results = self.graph.run({**self.bound, self.input_name: x.to(self.device, self.dtype)})
        if not self.several:
            return results[self.outputs[0]]
        return {name: results[place] for name, place in zip(self.output_names, self.outputs)}

    def _build(self, whole, tensors):
        module = whole["graph_module"]
        graph, signature = module["graph"], module["signature"]
        self.graph, self.bound, inputs = _Graph(graph, self), {}, []
        for spec in signature["input_specs"]:
            (kind, entry), = spec.items()
            if kind == "user_input":
                inputs += [value["name"] for name, value in entry["arg"].items() if name == "as_tensor"]
            elif kind in ("parameter", "buffer", "tensor_constant"):
                self.bound[entry["arg"]["name"]] = tensors[entry[f"{kind}_name"]]
            elif kind != "constant_input":
                self.refuse(f"an input of kind {kind}")
        outputs = [number for number, spec in enumerate(signature["output_specs"]) if "user_output" in spec]
        if len(inputs) != 1 or not outputs or (len(outputs) != 1 and not self.several):
            raise InputError(f"the program takes {len(inputs)} tensors and returns {len(outputs)}, expected one each",
                             where=self.path, do="Export a module that maps one tensor to one")
        (self.input_name,), self.outputs = inputs, outputs
        self.output_names = _output_names(module, len(outputs))
        meta = graph["tensor_values"][self.input_name]
        self.dtype = DTYPES[meta["dtype"]]
        batch, *rest = meta["sizes"] or [{}]
        if not rest or not self.dtype.is_floating_point or any("as_int" not in size for size in rest):
            raise InputError("its input is not a batch of floating-point rows of one size", where=self.path,
                             do="Export a module that takes z (batch, width), or images (batch, 3, height, width)")
        self.input_shape = tuple(size["as_int"] for size in rest)
        self.batch = self._batch(batch, whole["range_constraints"])

    def _batch(self, size, ranges):
        """Return (smallest, largest) batch of a size as it is written: a number, or a symbol with a range."""
        if "as_int" in size:
            return size["as_int"], size["as_int"]
        found = re.fullmatch(r"Symbol\('(\w+)'[\w\s=,]*\)|(\w+)", size["as_expr"]["expr_str"])
        if found is None:
            raise InputError("its batch size is neither fixed nor free", where=self.path,
                             do="Export it with dynamic_shapes=({0: torch.export.Dim('batch')},)")
        allowed = ranges.get(found.group(1) or found.group(2), {})
        return max(1, allowed.get("min_val") or 1), allowed.get("max_val")

    def _tensors(self, archive, members, folder):
        """Return {name: tensor} of the weights or the constants."""
        if f"data/{folder}/model.pt" in members:  # as torch 2.8 wrote them: one pickle
            return {name: value.to(self.device) for name, value in
                    self._unpickle(archive.read(members[f"data/{folder}/model.pt"])).items()}
        config = json.loads(archive.read(members[f"data/{folder}/model_{folder}_config.json"]))["config"]
        stored, tensors = {}, {}  # several names may share the bytes of one member
        for name, entry in config.items():
            member, meta = entry["path_name"], entry["tensor_meta"]
            data = None if member in stored else archive.read(members[f"data/{folder}/{member}"])
            if entry["use_pickle"] or meta is None:
                tensors[name] = self._unpickle(data).to(self.device)
                continue
            if meta["layout"] != STRIDED:
                self.refuse(f"the tensor '{name}', which is not dense")
            if data is not None:
                stored[member] = torch.frombuffer(bytearray(data), dtype=DTYPES[meta["dtype"]]) if data else None
            shape, strides = ([size["as_int"] for size in meta[key]] for key in ("sizes", "strides"))
            flat = torch.zeros(0, dtype=DTYPES[meta["dtype"]]) if stored[member] is None else stored[member]
            tensor = flat.as_strided(shape, strides, meta["storage_offset"]["as_int"])
            tensors[name] = aligned(tensor.to(self.device))
        return tensors

    def _unpickle(self, data):
        """Return what a pickled member holds, if it is tensors and plain containers; InputError otherwise."""
        try:
            return read_torch(io.BytesIO(data), len(data))
        except Refused as refusal:
            self.refuse("the pickled object " + str(refusal).strip("'"), refusal)

    def refuse(self, what, cause=None):
        """Raise the InputError for something in a program that is not run here."""
        raise InputError(f"the program asks for {what}; only ATen operators on dense tensors are run, and nothing was "
                         f"yet",
                         where=self.path, do="Export it again, with run_decompositions() if need be") from cause


def _members(archive):
    """Return {path below the archive's own top folder: member}; one name twice is a ValueError."""
    names = archive.namelist()
    if len({name.lower() for name in names}) != len(names):
        raise ValueError("a member is there twice")
    return {name.partition("/")[2]: name for name in names}


def _check_version(whole, path):
    major = whole["schema_version"]["major"]
    if major != 8:
        raise InputError(f"a torch.export program of schema {major}, expected 8", where=path,
                         do="Export it again with torch 2.8 or later")


class InPieces:
    """A program called with any number of rows, in pieces of the sizes it allows, the last one padded."""

    def __init__(self, program):
        self.program = program
        self.smallest, self.largest = program.batch

    def __call__(self, rows):
        pieces = rows.split(self.largest) if self.largest else [rows]
        return torch.cat([self._piece(piece) for piece in pieces])

    def _piece(self, rows):
        missing = max(0, self.smallest - len(rows))
        outputs = self.program(torch.cat([rows, rows[-1:].expand(missing, *rows.shape[1:])]))
        if not missing or not isinstance(outputs, torch.Tensor) or len(outputs) != len(rows) + missing:
            return outputs  # what is wrong with it is said by the caller
        return outputs[: len(rows)]


class _Name(str):
    """The name of a value, where an argument refers to one."""


class _Graph:
    """The nodes of a program or of a part of it, ready to run in their order."""

    def __init__(self, graph, program):
        self.program = program
        self.inputs = [self._argument(value) for value in graph["inputs"]]
        self.outputs = [self._argument(value) for value in graph["outputs"]]
        self.steps = [self._step(node) for node in graph["nodes"]]
        seen = set(_names(self.outputs))
        for step in reversed(self.steps):  # after its last use a value goes: a generator's activations are large
            used = set(_names([step["args"], step["kwargs"], step["outputs"]]))
            step["last"] = used - seen
            seen |= used

    def run(self, values):
        """Return the list of outputs; values: {name: tensor} of the inputs, which is used up."""
        for step in self.steps:
            args, kwargs = _fill(step["args"], values), _fill(step["kwargs"], values)
            result = step["function"](*args, **kwargs)
            outputs = step["outputs"]
            if len(outputs) == 1 and not step["is_part"]:
                result = [result]
            for target, value in zip(outputs, result if outputs else ()):
                pairs = zip(target, value) if isinstance(target, list) else [(target, value)]
                values.update((name, item) for name, item in pairs if isinstance(name, _Name))
            for name in step["last"]:
                values.pop(name, None)
        return _fill(self.outputs, values)

    def call(self, *arguments):
        """Run as a part of another graph."""
        return self.run(dict(zip(self.inputs, arguments)))

    def _step(self, node):
        """Return what a node does: function, arguments, names of its results."""
        args, kwargs = [], {}
        for entry in node["inputs"]:
            value = self._argument(entry["arg"])
            if entry.get("kind") == 1 or not entry["name"]:
                args.append(value)
            else:
                kwargs[entry["name"]] = value
        is_part = node["target"] == "torch.ops.higher_order.wrap_with_set_grad_enabled"
        if is_part:  # a part with or without gradients
            enabled, part, args = args[0], args[1], args[2:]
            function = functools.partial(_with_gradients, part.call, enabled)
        elif node["target"] in ARITHMETIC:  # positional, whatever their names
            function, args, kwargs = ARITHMETIC[node["target"]], [*args, *kwargs.values()], {}
        else:
            function = self._operator(node["target"])
        return {"function": function, "args": args, "kwargs": kwargs, "is_part": is_part,
                "outputs": [self._argument(value) for value in node["outputs"]]}

    def _operator(self, target):
        """Return the ATen operator of a name if it computes; everything else is refused."""
        found = re.fullmatch(r"torch\.ops\.aten\.([a-zA-Z0-9]\w*|_[a-zA-Z0-9]\w*)\.([a-zA-Z0-9]\w*)", target)
        function = found and getattr(getattr(torch.ops.aten, found.group(1), None), found.group(2), None)
        if not isinstance(function, torch._ops.OpOverload) or not computes(str(function._schema)):
            self.program.refuse(target)
        return function

    def _argument(self, argument):
        """Return an argument as a value, or as the _Name of one; lists of either."""
        (kind, value), = argument.items()
        if kind in ("as_tensor", "as_custom_obj"):
            return _Name(value["name"])
        if kind in ("as_sym_int", "as_sym_float", "as_sym_bool", "as_optional_tensor"):
            (inner, value), = value.items()
            return _Name(value) if inner == "as_name" else self._argument({inner: value})
        if kind == "as_tensors":
            return [_Name(item["name"]) for item in value]
        if kind in ("as_sym_ints", "as_sym_floats", "as_sym_bools", "as_optional_tensors"):
            return [self._argument({kind.removesuffix("s"): item}) for item in value]
        if kind in ("as_float", "as_floats"):  # infinity is text in the file
            return float(value) if kind == "as_float" else [float(item) for item in value]
        if kind in ("as_int", "as_bool", "as_string", "as_ints", "as_bools", "as_strings"):
            return value
        if kind == "as_name":
            return _Name(value)
        if kind == "as_graph":
            return _Graph(value["graph"], self.program)
        tables = {"as_scalar_type": DTYPES, "as_memory_format": MEMORY_FORMATS, "as_layout": {STRIDED: torch.strided}}
        if kind in tables:
            return tables[kind][value]
        if kind == "as_none":
            return None
        if kind == "as_device":  # the file's device is where it was exported
            return self.program.device
        return self.program.refuse(f"an argument of kind {kind}")


def _with_gradients(function, enabled, *arguments):
    with torch.set_grad_enabled(bool(enabled) and torch.is_grad_enabled()):
        return function(*arguments)


def _output_names(module, count):
    """Return the names of a program's outputs: the keys of the dictionary that it returns, else their numbers."""
    try:
        signature = module["module_call_graph"][0]["signature"]
        kind, children = _tree(json.loads(signature["out_spec"])[1])
        names = [str(key) for key in kind]
        return names if len(set(names)) == len(names) == count == len(children) else list(map(str, range(count)))
    except (KeyError, IndexError, TypeError, ValueError, RecursionError):
        return list(map(str, range(count)))


def _tree(spec):
    """Return (keys, children) of a dictionary's tree specification; TypeError for another kind."""
    if not str(spec["type"]).endswith(("dict", "OrderedDict")) or any(child["children_spec"]
                                                                      for child in spec["children_spec"]):
        raise TypeError("no flat dictionary")
    keys = spec["context"]
    return (json.loads(keys) if isinstance(keys, str) else keys), spec["children_spec"]


def _names(value):
    """Yield the names in nested lists and dicts."""
    if isinstance(value, _Name):
        yield value
    elif isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _names(item)


def _fill(value, values):
    """Return nested lists and dicts with the values in place of their names."""
    if isinstance(value, _Name):
        if value not in values:
            raise ValueError(f"a node of the program uses '{value}', which no node before it makes")
        return values[value]
    if isinstance(value, list):
        return [_fill(item, values) for item in value]
    if isinstance(value, dict):
        return {name: _fill(item, values) for name, item in value.items()}
    return value
