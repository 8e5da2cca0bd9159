"""TorchScript modules, loaded only after everything that runs while they are loaded, and run only after all the rest.

torch's interpreter has no Python in it, but its operators save and map files, print, and call other machines. Loading
alone runs a class's `__setstate__` and the default values of arguments. So the archive is looked through twice: its
source, before torch compiles it, must define no `__setstate__` and have nothing but constants outside the bodies of
functions; and every operator of every compiled function must be one that computes. The archive is read with torch's
own reader, for two readers may see two archives in one file.
"""

import ast
import io
import os
import re
import string

import torch

from common.errors import InputError
from common.files import system_errors
from common.formats.tensors import aligned, checked_storage, outside
from common.formats.torchscript import SCRIPT, own_class
from common.formats.unpickle import Interpreter, known, reading

LARGEST_SOURCE = 1 << 22  # bytes of an archive's code; a traced DINOv2 of the largest kind has 200 kB
LARGEST_PICKLE = 1 << 26
LETTERS = set(string.printable.encode()) - set(b"\t\r\x0b\x0c")
TEXT = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'')
# What may stand where it is evaluated while a module is loaded: class bodies and default values.
CONSTANT = (ast.Constant, ast.Name, ast.Attribute, ast.Subscript, ast.List, ast.Tuple, ast.Dict, ast.UnaryOp, ast.USub,
            ast.Load, ast.Store, ast.Assign, ast.AnnAssign)
# An operator that takes no text cannot name a file, a machine or a library; these take text and only compute with it.
_WITH_TEXT = """
    Delete Float Int __contains__ __getitem__ __interpolate __upsample _assert_async _assert_scalar _convolution_mode
    _functional_assert_async _functional_assert_scalar _set_item add any capitalize center clear
    conv1d conv2d conv3d copy count device dict div div_ divide divide_ einsum endswith eq expandtabs
    fft_fft fft_fft2 fft_fftn fft_hfft fft_hfft2 fft_hfftn fft_ifft fft_ifft2 fft_ifftn fft_ihfft fft_ihfft2 fft_ihfftn
    fft_irfft fft_irfft2 fft_irfftn fft_rfft fft_rfft2 fft_rfftn find format ge gelu gelu_ get gt index index_reduce
    index_reduce_ isalnum isalpha isdecimal isdigit islower isnumeric isspace isupper items join keys le len
    linalg_eigh linalg_eigvalsh linalg_matrix_norm linalg_norm linalg_qr linalg_svd linalg_svdvals list lower lstrip lt
    meshgrid nanquantile ne ord pad pad_sequence percentFormat pop quantile replace rstrip scatter scatter_
    scatter_reduce scatter_reduce_ searchsorted setdefault slice sort sorted split startswith stft strip title update
    upper values warn"""
# Control flow, constructors and questions of the interpreter; not Print, PythonOp or rpc.
_PRIM = """
    CallFunction CallMethod Closure Constant ConstantChunk CreateObject DictConstruct Enter EnumName EnumValue Exit
    GetAttr If ListConstruct ListUnpack Loop ModuleContainerIndex NumToTensor RaiseException SetAttr StringIndex
    TupleConstruct TupleIndex TupleSlice TupleUnpack Uninitialized abs data device dtype fork index is_cpu is_cuda
    is_meta is_mkldnn is_mps is_nested is_quantized is_sparse is_xpu isinstance itemsize layout max min name nbytes
    rangelist requires_grad tolist type unchecked_cast unchecked_unwrap_optional"""
WITH_TEXT, PRIM = frozenset(_WITH_TEXT.split()), frozenset(f"prim::{name}" for name in _PRIM.split())
NOT_LISTED = "which is not among the operators that only compute"
ADVICE = "Use a module that only computes"
AGAIN = "Copy or make the file again"


def computes(schema):
    """Return whether an operator, by its schema as text, does nothing but compute: an allow-list."""
    name, _, rest = schema.partition("(")
    space, _, operator = name.partition("::")
    operator = operator.partition(".")[0]
    takes_text = re.search(r"\bstr\b", rest.partition("->")[0])
    return space == "aten" and (not takes_text or operator in WITH_TEXT)


def load_script(path, device):
    """Return the ScriptModule of a file, in evaluation mode, its weights in aligned memory on the device.

    Raises InputError for a file that is missing, damaged or no TorchScript archive, and for one that asks for anything
    but computing, named in the message; nothing of that one was run.
    """
    with system_errors(path), open(path, "rb"):
        pass
    with reading(path, "a TorchScript module", "modules, tensors and plain values", AGAIN):
        _check_archive(torch._C.PyTorchFileReader(str(path)), path)
        unit = torch._C.CompilationUnit()
        module = torch._C.import_ir_module(unit, str(path), torch.device(device), {}, False)
        for function in unit.get_functions():
            _check_graph(function.graph, path)
    module = torch.jit._recursive.wrap_cpp_module(module).eval()
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.data = aligned(tensor.data)
    return module


def _refuse(path, what):
    raise InputError(f"the module {what}; nothing of it was run", where=path, do=ADVICE)


def _check_archive(reader, path):
    """Look through an archive's source and pickles before anything of them is compiled or made."""
    sizes = {name: reader.get_record_size(name) for name in reader.get_all_records()}
    if len({name.lower() for name in sizes}) != len(sizes):  # which of the two would be loaded?
        raise ValueError("a member is there twice")
    sources = [name for name in sizes if name.startswith("code/") and name.endswith(".py")]
    if not sources or sum(sizes[name] for name in sources) > LARGEST_SOURCE:
        raise ValueError("its code is missing or far too long")
    if sum(size for name, size in sizes.items() if not name.startswith("code/")) > os.path.getsize(path):
        raise ValueError("its members are compressed, or overlap")
    for name in sources:
        _check_source(reader.get_record(name), path)
    for name in sizes:
        if name in ("data.pkl", "constants.pkl") or name.endswith(".debug_pkl"):  # torch reads no other here
            if sizes[name] > LARGEST_PICKLE:
                raise ValueError(f"its {name} is far too long")
            _check_pickle(reader.get_record(name), name.removesuffix(".pkl"), sizes)


def _check_pickle(data, folder, sizes):
    """Run a pickle's instructions here first, where they cost no more than they should and make nothing."""
    def stored(identity):
        storage = outside(identity)
        dtype, key, count = checked_storage(storage)
        if sizes.get(f"{folder}/{key}") != count * dtype.itemsize:  # torch would read behind its end
            raise ValueError(f"storage {key} has not the {count:,} elements that it claims")
        return storage

    Interpreter(io.BytesIO(data), len(data), known(SCRIPT, also=own_class), stored).load()


def _check_source(source, path):
    """Refuse source of which anything would run while it is compiled or its objects are made."""
    if b"__setstate__" in source:
        _refuse(path, "has a __setstate__, which would run while it is loaded")
    if not set(source) <= LETTERS:
        raise ValueError("its code has letters that torch does not write")
    text = source.decode("ascii")
    bare = TEXT.sub("''", text)
    # With nothing but plain strings, Python's parser and torch's see the same words.
    if re.search(r"[\\#\"]|\w'|'''", bare):
        raise ValueError("its code has comments or strings that torch does not write")
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise ValueError(f"its code is none ({error})") from error
    for node in ast.walk(tree):
        for part in (part for constant in _evaluated(node) for part in ast.walk(constant)):
            if not isinstance(part, CONSTANT):
                _refuse(path, f"computes '{ast.unparse(part)[:60]}' while it is loaded")
        operator = _operator(node)
        if operator and not operator.startswith("aten::") and operator not in PRIM:  # some crash torch's compiler
            _refuse(path, f"calls {operator}, {NOT_LISTED}")


def _operator(node):
    """Return the operator `space::name` that a node of the syntax tree names as `ops.space.name`, or None."""
    space = node.value if isinstance(node, ast.Attribute) else None
    if not isinstance(space, ast.Attribute) or not isinstance(space.value, ast.Name) or space.value.id != "ops":
        return None
    return f"{space.attr}::{node.attr}"


def _evaluated(node):
    """Return the parts of a node of the syntax tree that are evaluated when torch compiles it."""
    if isinstance(node, (ast.FunctionDef, ast.Lambda)):
        return [*node.args.defaults, *filter(None, node.args.kw_defaults), *getattr(node, "decorator_list", ())]
    if isinstance(node, (ast.ClassDef, ast.Module)):
        return [part for part in node.body if not isinstance(part, (ast.FunctionDef, ast.ClassDef, ast.Pass))]
    return []


def _check_graph(graph, path):
    """Refuse a graph with an operator that does more than compute, in whatever block or inner graph."""
    for node in graph.nodes():
        kind = node.kind()
        if kind not in PRIM and not computes(node.schema()):
            _refuse(path, f"calls {kind}, {NOT_LISTED}")
        for kind in (value.type().annotation_str for value in (*node.inputs(), *node.outputs())):
            if "torch.classes." in kind:
                _refuse(path, f"uses {kind.removeprefix('__torch__.')}, an object of one of its libraries")
        for block in node.blocks():
            _check_graph(block, path)
        for attribute in node.attributeNames():
            if node.kindOf(attribute) in ("g", "gs"):
                graphs = [node.g(attribute)] if node.kindOf(attribute) == "g" else node.gs(attribute)
                for inner in graphs:
                    _check_graph(inner, path)
