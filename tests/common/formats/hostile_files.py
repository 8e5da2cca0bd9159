"""Files made to run code, to write, to hang or to fill the memory, each by another way, for all readers of pickles."""

import io
import pickle
import struct
import zipfile

import torch


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def named(name):
    """Return the instruction that puts a global on the stack."""
    module, _, attribute = name.rpartition(".")
    return f"c{module}\n{attribute}\n".encode()


def call(name, *arguments):
    return named(name) + b"(" + b"".join(arguments) + b"tR"


def pickled(body):
    return b"\x80\x02" + body + b"."


# 60 tuples, each of its predecessor twice: as a key, 2^60 steps; as a value, 2^60 parts for whoever goes through it.
NESTED = b")" + b"".join(b"q" + bytes([level]) + b"0(h" + bytes([level]) + b"h" + bytes([level]) + b"t"
                         for level in range(60))
LISTS = b"]" + b"".join(b"q" + bytes([level]) + b"0](h" + bytes([level]) + b"h" + bytes([level]) + b"e"
                        for level in range(60))
COLLIDING = b"}(" + b"".join(b"\x8a\x0a" + (number * ((1 << 61) - 1)).to_bytes(10, "little") + b"N"
                             for number in range(1, 20_000)) + b"u"
SYSTEM = call("os.system", text("touch ran"))

PLAIN = {
    "a key of tuples within tuples": (b"}" + NESTED + b"Ns", "a dictionary key of kind tuple"),
    "such a key in a set": (b"\x8f(" + NESTED + b"\x90", "a dictionary key of kind tuple"),
    "a frozen set of them": (b"(" + NESTED + b"\x91", "a dictionary key of kind tuple"),
    "lists within lists": (LISTS, "its parts stand there over and over"),
    "two million marks": (b"(" * 2_000_000, "more than 1,000 marks are open"),
    "keys with one hash": (COLLIDING, "a dictionary key of kind int"),
    "a text encoded again and again": (
        text("x" * 100_000) + b"q\x00" + b"".join(b"0c_codecs\nencode\n(h\x00" + text("latin1") + b"tR"
                                                  for _ in range(5000)), "copied over and over"),
    "bytes without end": (call("numpy.core.multiarray.scalar", call("numpy.dtype", text("S1")) + b"q\x01",
                               b"J\xff\xff\xff\x7f"), "cannot be read"),
    "a shell": (SYSTEM, "asks for 'os.system'"),
    "a function behind another": (b"\x8c\x08builtins\x8c\x10eval.__globals__\x93", "builtins.eval.__globals__"),
}


def zipped(path, body, **members):
    """Write a file of torch.save; members: {key of a storage: bytes}."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", pickled(body))
        archive.writestr("a/version", "3\n")
        for name, data in members.items():
            archive.writestr(f"a/data/{name.removeprefix('_')}", data)


def tensor(count, sizes, strides, key="0"):
    """Return the instructions of a tensor over a storage that claims so many floats."""
    def whole(value):
        return pickle.dumps(value, 2)[2:-1]

    storage = (b"((" + text("storage") + named("torch.FloatStorage") + text(key) + text("cpu") + whole(count) + b"tQ")
    return (named("torch._utils._rebuild_tensor_v2") + storage + whole(0) + _items(sizes) + _items(strides) + b"\x89"
            + call("collections.OrderedDict") + b"tR")


def _items(numbers):
    return b"(" + b"".join(pickle.dumps(number, 2)[2:-1] for number in numbers) + b"t"


def item(value, name="w"):
    return b"}" + text(name) + value + b"s"


FLOATS = bytes(16)
CHECKPOINTS = {
    "a key of tuples": (item(b"}" + NESTED + b"Ns"), "a dictionary key of kind tuple"),
    "more elements than bytes": (item(tensor(1 << 28, (4,), (1,))), "storage 0 has 16 bytes, not those of 268,4"),
    "a tensor of one element, 10^12 times": (item(tensor(4, (10**12,), (0,))), "reaches outside"),
    "a tensor behind its storage": (item(tensor(4, (2,), (10**6,))), "reaches outside"),
    "a shell in the weights": (item(SYSTEM), "asks for 'os.system'"),
    "torch's own unpickler": (item(call("torch.load", text("other.pth"))), "asks for 'torch.load'"),
    "a dictionary of itself": (b"}q\x00" + text("ema") + b"h\x00s", "holds itself"),
    "copies of pairs": (b"](" + b"".join(b"]" + b"(K\x01K\x02e" for _ in range(2000)) + b"eq\x00"
                        + b"0ccollections\nOrderedDict\n(h\x00tR" * 2000, "copied over and over"),
    "a namespace that calls": (item(call("argparse.Namespace") + b"}" + text("lr") + SYSTEM + b"sb"),
                               "asks for 'os.system'"),
    "a state for a function": (named("torch._utils._rebuild_parameter") + b"}b", "a state for something"),
    "a compiled extension": (item(b"\x82\x01"), "an instruction that such files do not hold"),
}


def node(kind, content, key="_content", parent=b"N"):
    """Return the instructions of a node of omegaconf."""
    return (named(f"omegaconf.{kind}") + b")\x81}(" + text("_metadata") + b"N" + text("_parent") + parent + text(key)
            + content + b"ub")


def chain():
    """Return twenty texts, each of its successor ten times: 10^20 letters when resolved."""
    items = b"".join(text(f"a{level}") + node("nodes.AnyNode", text(f"${{a{level + 1}}}" * 10), "_val", b"h\x00")
                     for level in range(20))
    root = named("omegaconf.dictconfig.DictConfig") + b")\x81q\x00}(" + text("_parent") + b"N" + text("_content")
    return root + b"}(" + items + text("a20") + node("nodes.AnyNode", text("x" * 10), "_val", b"h\x00") + b"uub"


def circle():
    """Return two texts that stand for one another."""
    items = b"".join(text(name) + node("nodes.AnyNode", text(f"${{{other}}}"), "_val", b"h\x00")
                     for name, other in ("ab", "ba"))
    root = named("omegaconf.dictconfig.DictConfig") + b")\x81q\x00}(" + text("_parent") + b"N" + text("_content")
    return root + b"}(" + items + b"uub"


LIGHTNING = {
    "a configuration that calls": (node("dictconfig.DictConfig", SYSTEM), "asks for 'os.system'"),
    "a resolver of omegaconf's users": (call("hydra.utils.instantiate", b"}"), "asks for 'hydra.utils.instantiate'"),
    "an interpolation of 10^20 letters": (chain(), "not a short text"),
    "interpolations in a circle": (circle(), "holds itself"),
}


class Identity(torch.nn.Module):
    """Has a weight, a forward that returns its input, and a submodule."""

    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Linear(3, 3)

    def forward(self, x):
        return x


def script(path, change=lambda name, data: data):
    """Write a TorchScript archive with its members changed: change(name, data) -> data, None to leave it out."""
    stream = io.BytesIO()
    torch.jit.save(torch.jit.script(Identity()), stream)
    with zipfile.ZipFile(stream) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            name = f"a/{name.partition('/')[2]}"
            data = change(name.removeprefix("a/"), old.read(f"archive/{name.removeprefix('a/')}"))
            if data is not None:
                new.writestr(name, data)


def instead(old, new, more="", member="hostile_files", debug=True):
    """Return a change of `script` that replaces text in the source of Identity; more: source at its end."""
    def change(name, data):
        if name.endswith(".debug_pkl") and not debug:
            return None
        if not name.endswith(".py") or f"/{member}" not in name:
            return data
        assert old.encode() in data
        return data.replace(old.encode(), new.encode()) + more.encode()

    return change


def statement(source, **how):
    """Return a change of `script` that puts a line into forward."""
    return instead("    return x", f"    {source}\n    return x", **how)


PLACE = "__torch__.tests.common.formats.hostile_files"
METHOD = f'''  def more(self: {PLACE}.Identity, x: Tensor) -> Tensor:
    return torch.from_file("written", True, 10, dtype=6)
'''
HELPER = '''def helper(x: Tensor) -> Tensor:
  torch.save(x, "written")
  return x
'''
CLASS = f'''class Writer:
  n : int
  def __init__(self: {PLACE}.Writer) -> NoneType:
    self.n = 1
    torch.save([1], "written")
    return None
'''
SETSTATE = f'''  def __getstate__(self: {PLACE}.Identity) -> int:
    return 1
  def __setstate__(self: {PLACE}.Identity, state: int) -> NoneType:
    torch.save(state, "written")
    return None
'''
LIBRARY = "__torch__.torch.classes._nnapi.Compilation"
SAVE = "aten::save, which is not among the operators that only compute"
FROM_FILE = "aten::from_file, which is not among the operators that only compute"


def default(source):
    return instead("x: Tensor) -> Tensor:", f"x: Tensor, n: int={source}) -> Tensor:")


SCRIPTS = {
    "save": (statement('torch.save(x, "written")'), SAVE),
    "save with blanks": (statement('torch . save(x, "written")'), SAVE),
    "save under its own name": (statement('ops.aten . save(x, "written")'), SAVE),
    "save without debug files": (statement('torch.save(x, "written")', debug=False), SAVE),
    "a line that goes on": (statement('torch.\\\nsave(x, "written")'), "comments or strings that torch does not write"),
    "a comment": (statement('y = 1 # """\n    torch.save(x, "written") # """'), "comments or strings"),
    "a mapped file": (statement('x = torch. from_file("written", True, 10, dtype=6)'), FROM_FILE),
    "within a branch of a loop": (statement('for i in range(2):\n      if torch.gt(torch.sum(x), 0):\n'
                                            '        torch.save(x, "written")\n      else:\n        pass'), SAVE),
    "in a method that is not called": (instead("", "", METHOD), FROM_FILE),
    "in a function": (statement(f"y = {PLACE}.helper(x)", more=HELPER), SAVE),
    "in a class that is made": (statement(f"y = {PLACE}.Writer.__new__({PLACE}.Writer)\n    _1 = (y).__init__()",
                                          more=CLASS), SAVE),
    "in a submodule": (instead("    weight = self.weight", '    torch.save(input, "written")\n    weight = self.weight',
                               member="linear"), SAVE),
    "in what is forked": (statement(f"y = fork({PLACE}.helper, x)", more=HELPER), SAVE),
    "as a default value": (default('len(torch.from_file("written", True, 10, dtype=6))'),
                           "computes 'len.torch.from_file.*' while it is loaded"),
    "as a constant of a class": (instead("  training : bool", '  training : bool\n  n : Final[int] = '
                                         'len(torch.from_file("written", True, 10, dtype=6))'),
                                 "computes .* while it is loaded"),
    "while it is loaded": (instead("", "", SETSTATE), "__setstate__, which would run while it is loaded"),
    "print": (statement('print("{}")'), "calls prim::Print"),
    "an object of a library": (statement(f"y = {LIBRARY}.__new__({LIBRARY})\n    _1 = (y).__init__()"),
                               "uses torch.classes._nnapi.Compilation"),
    "another machine": (statement('y = ops.prim.rpc_sync("a", x)'), "calls prim::rpc_sync"),
    "what ends the process when it is compiled": (statement("y = ops.prim.PythonOp(x)"), "calls prim::PythonOp"),
    "a collective": (statement('x = ops._c10d_functional.all_reduce(x, "sum", "0")'), "_c10d_functional::all_reduce"),
    "a storage that is too short": (lambda name, data: data[:4] if name == "data/0" else data,
                                    "storage 0 has not the 9 elements"),
    "a module of another kind": (lambda name, data: pickled(call("__torch__.torch.classes.x.Y")) if name == "data.pkl"
                                 else data, "asks for '__torch__.torch.classes.x.Y'"),
    "a pickle without end": (lambda name, data: pickled(b"}" + NESTED + b"Ns") if name == "constants.pkl" else data,
                             "a dictionary key of kind tuple"),
    "letters of another alphabet": (statement("ｔorch.save(x, 1)"), "letters that torch does not write"),
}
