"""The one interpreter of pickles: nothing that a file asks for is looked up, imported, called or run.

A file's instructions can build lists, tuples, dicts, sets, text, bytes and numbers. A global that it names becomes a
`Global` from the reader's own table; any other is refused by name. Objects become stand-ins, which are checked and
turned into tensors or arrays after the last instruction (`finish`).

The cost of a file is bounded too: dictionary keys are text and numbers alone (hashing a tuple that holds its
predecessor twice, 60 deep, takes for ever), and marks, instructions, copies and nested repetitions are counted. The
interpreter is the standard library's Python one: the one in C gives a few damaged bytes tens of GB of memory (its
table of references is as long as the highest number in the file).
"""

import io
import pickle
from contextlib import contextmanager

from common.errors import InputError
from common.formats.zips import zip_errors

# What the interpreter and the rebuilding functions raise, beyond zips.DAMAGE, on a pickle that is damaged or made up.
DAMAGE = (pickle.UnpicklingError, TypeError, NameError, AssertionError, BufferError)
MOST_INSTRUCTIONS = 10_000_000  # a list of ImageNet's 1.28 million labels takes 1.3 million
MOST_MARKS = 1000  # open at one time; Python's own writer gives up before
MOST_PARTS = 20_000_000  # of a value, each counted as often as it stands there
LARGEST_KEY = (1 << 61) - 1  # from here on different numbers have equal hashes
LARGE = 1 << 16  # byte strings from here on are read into writable memory at once, which the tensors then share


class Refused(Exception):
    """A global (or another thing, in words) that the file asks for and does not get."""


@contextmanager
def reading(where, kind, expected, again="Copy or download the file again"):
    """Turn a refusal, and whatever a damaged file raises, into an InputError about `where`.

    kind: what the file cannot be read as.  expected: what such files hold.
    """
    what = f"cannot be read as {kind}: it is damaged, truncated or of another kind"
    with zip_errors(where, what, again, DAMAGE):
        try:
            yield
        except Refused as refusal:
            do = f"Use a file from a source you trust; only {expected} are read"
            raise InputError(f"the file asks for {refusal}; nothing of it was run", where=where, do=do) from refusal


class Global:
    """A global of the file: its name, and what makes the stand-in of an object of it (None: it is only named)."""

    __slots__ = ("make", "name")

    def __init__(self, name, make=None):
        self.name, self.make = name, make


class StandIn:
    """What stands for an object while the file is read: the arguments of its call, and the state set afterwards."""

    __slots__ = ("arguments", "state")
    takes_state = False

    def __init__(self, *arguments):
        self.arguments, self.state = arguments, None


class Record(StandIn):
    """An object of the file that is only read: `attributes` as its instance dictionary has them."""

    __slots__ = ("class_name",)
    takes_state = True

    def __init__(self, class_name, attributes=None):
        super().__init__()
        self.class_name, self.state = class_name, attributes

    @property
    def attributes(self):
        """The instance dictionary, {} where the file sets none."""
        return self.state if isinstance(self.state, dict) else {}


class Interpreter(pickle._Unpickler):
    """Runs a pickle's instructions. Raises `Refused`, or one of DAMAGE."""

    dispatch = dict(pickle._Unpickler.dispatch)

    def __init__(self, stream, size, lookup, persistent=None, encoding="latin1"):
        """stream: binary, of `size` bytes.  lookup: a function of a global's name that returns a Global, or None.

        persistent: a function of a persistent id that returns its stand-in.  encoding: of Python 2's text.
        """
        super().__init__(stream, encoding=encoding)
        self.stream, self.size, self.lookup, self.persistent = stream, size, lookup, persistent
        self.allowance = 2 * size + 100_000  # parts and bytes that calls may copy
        self.is_finished = True  # no stand-in was made, and no container stands there twice: `finish` has nothing to do

    def load(self):
        """Return the value of the stream's next pickle."""
        # in memory no length asks for more than there is
        read = self.stream.read if isinstance(self.stream, io.BytesIO) else self._read_file
        self._unframer = pickle._Unframer(read, self.stream.readline)
        self.read, self.readline = read, self.stream.readline  # frames, which torch does not write, change these
        self.metastack, self.stack, self.proto = [], [], 0
        self.append, dispatch = self.stack.append, self.dispatch
        try:
            for _ in range(MOST_INSTRUCTIONS):
                dispatch[self.read(1)[0]](self)
        except pickle._Stop as stop:
            return stop.value
        finally:
            del self._unframer, self.read, self.readline  # they hold this object, and its memo all of the file
        raise ValueError(f"more than {MOST_INSTRUCTIONS:,} instructions")

    def _read_file(self, count):
        """Return bytes of the stream; a false length cannot ask for more memory than the file has bytes."""
        if count >= LARGE and count > self.size - self.stream.tell():
            raise EOFError(f"{count:,} more bytes expected than there are")
        return self.stream.read(count)

    def find_class(self, module, name):
        """Return the Global of a name; Refused when the file must not have it."""
        self.is_finished, found = False, self.lookup(f"{module}.{name}")
        if found is None:
            raise Refused(f"'{module}.{name}'")
        return found

    def persistent_load(self, identity):
        """Return the stand-in of an object outside the pickle."""
        self.is_finished = False
        if self.persistent is None:
            raise Refused("an object outside the file (a persistent id)")
        return self.persistent(identity)

    def _call(self, called, arguments):
        """Put what a call of a Global makes on the stack. A call may copy its arguments, so their sizes are counted."""
        if not isinstance(called, Global) or called.make is None or not isinstance(arguments, (tuple, list)):
            raise ValueError("a call of something that is not to be called")
        self._count(arguments)
        self.append(called.make(*arguments))

    def _frame(self):
        self.read, self.readline = self._unframer.read, self._unframer.readline
        super().load_frame()

    def _count(self, arguments):
        self.allowance -= len(arguments)
        for value in arguments:
            if type(value) is not int and hasattr(value, "__len__"):
                self.allowance -= len(value)
        if self.allowance < 0:
            raise ValueError("its parts are copied over and over")

    _instantiate = _call  # of the instructions INST and OBJ

    def _reduce(self):
        arguments, called = self.stack.pop(), self.stack.pop()
        self._call(called, arguments)

    def _build(self):
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(state, tuple):
            self._count(state)
        if isinstance(target, StandIn) and target.takes_state:
            target.state = state
        elif not isinstance(target, dict):  # an OrderedDict's own attributes are of no use here
            raise ValueError("a state for something that has none")

    def _mark(self):
        if len(self.metastack) >= MOST_MARKS:
            raise ValueError(f"more than {MOST_MARKS:,} marks are open")
        super().load_mark()

    def _set_items(self, items):
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise ValueError("items for something that is not a dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[key if type(key) is str else checked_key(key)] = value

    def _setitem(self):
        items = self.stack[-2:]
        del self.stack[-2:]
        self._set_items(items)

    def _setitems(self):
        self._set_items(self.pop_mark())

    def _dict(self):
        items = self.pop_mark()
        self.append({})
        self._set_items(items)

    def _additems(self):
        items, target = self.pop_mark(), self.stack[-1]
        if not isinstance(target, set):
            raise ValueError("items for something that is not a set")
        target.update(map(checked_key, items))

    def _frozenset(self):
        items = self.pop_mark()
        self.append(frozenset(map(checked_key, items)))

    def _large_bytes(self):
        """Read a byte string; a large one (a storage) into memory that its tensors can be made over."""
        count = int.from_bytes(self.read(4), "little")
        self.append(self.read(count) if count < LARGE else self._writable(count))

    def _byte_array(self):
        self.append(self._writable(int.from_bytes(self.read(8), "little")))

    def _writable(self, count):
        """Return so many bytes as a byte array, whose room is not made before they are known to be there."""
        frame = self._unframer.current_frame
        if frame and frame.tell() < len(frame.getbuffer()):
            return bytearray(self.read(count))
        if count > (left := self.size - self.stream.tell()):
            raise EOFError(f"a byte array of {count:,} bytes, more bytes expected than the {left:,} there are")
        data = bytearray(count)
        self.stream.readinto(data)
        return data

    def _unknown(self):
        raise ValueError("an instruction that such files do not hold")

    def _shared(self, load):
        """Run an instruction that puts on the stack what stands elsewhere too."""
        load(self)
        self.is_finished &= type(self.stack[-1]) not in (list, dict, tuple)

    for _code, _meaning in {
        "REDUCE": _reduce, "NEWOBJ": _reduce, "BUILD": _build,
        "MARK": _mark, "SETITEM": _setitem, "SETITEMS": _setitems, "DICT": _dict,
        "ADDITEMS": _additems, "FROZENSET": _frozenset, "BINBYTES": _large_bytes,
        "BYTEARRAY8": _byte_array, "FRAME": _frame,
        **dict.fromkeys(("NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER"), _unknown),
    }.items():
        dispatch[getattr(pickle, _code)[0]] = _meaning
    for _code in (pickle.GET, pickle.BINGET, pickle.LONG_BINGET, pickle.DUP):
        dispatch[_code[0]] = lambda self, load=dispatch[_code[0]]: self._shared(load)
    del _code, _meaning


def known(*tables, also=None):
    """Return the lookup of an Interpreter: the globals of some tables {name: make}.

    also: a function of a name that returns what makes it, for names that no table lists.
    """
    table = {name: make for part in tables for name, make in part.items()}

    def lookup(name):
        make = table.get(name, Refused)
        make = also(name) if make is Refused and also else make
        return None if make is Refused or (make is None and name not in table) else Global(name, make)

    return lookup


def checked_key(key):
    """Return a key of a dictionary or set if it is text, a number or a global; ValueError otherwise."""
    kind = type(key)
    if kind in (str, bytes, float, bool, type(None), Global) or (kind is int and -LARGEST_KEY < key < LARGEST_KEY):
        return key
    raise ValueError(f"a dictionary key of kind {kind.__name__}, expected text or a number")


def mapping(*items, kind=dict):
    """Make a dictionary of no argument, of one list of pairs, as Python 2 wrote them, or of another dictionary."""
    (pairs,) = items or ((),)
    pairs = pairs.items() if isinstance(pairs, dict) else pairs
    return kind((checked_key(key), value) for key, value in pairs)


def ordered(*items):
    """Make an OrderedDict."""
    from collections import OrderedDict

    return mapping(*items, kind=OrderedDict)


def members(*items):
    """Make a set of no argument or of one list."""
    (values,) = items or ((),)
    return set(map(checked_key, values))


CONTAINERS = {"collections.OrderedDict": ordered, "collections.Counter": mapping,
              "collections.defaultdict": lambda *kind: {}, "builtins.set": members, "__builtin__.set": members}


def finish(value, convert, circles=False):
    """Return `value` with convert(stand-in, inner) in place of each stand-in or Global in its lists, tuples and dicts.

    inner: what `convert` calls on parts of a stand-in.  circles: whether a part may hold itself.
    ValueError when whoever goes through the value would not come to an end, so often do its parts stand there.
    """
    return _Finishing(convert, circles)(value)


class _Finishing:
    """The `inner` of `finish`. No closure: one that calls itself would keep a file's tensors until a garbage
    collection."""

    def __init__(self, convert, circles):
        self.convert, self.circles = convert, circles
        self.done = {}  # id: (part, result, number of parts); the parts are held so that no id comes twice

    def __call__(self, part):
        """Return a part with what `convert` makes of its stand-ins."""
        if not isinstance(part, PARTS):
            return part
        done = self.done
        if id(part) in done:
            _, result, size = done[id(part)]
            if size is None and not self.circles:
                raise ValueError("a part of it holds itself")
            return result
        done[id(part)] = part, part, None
        if isinstance(part, (StandIn, Global)):
            result = self.convert(part, self)
            held = done.get(id(result.state if isinstance(result, Record) else result))
            size = 1 + (held and held[2] or 0)
        else:
            result, size = self._container(part)
        done[id(part)] = part, result, size
        done.setdefault(id(result), (result, result, size))
        return result

    def _container(self, part):
        """Return (result, number of parts) of a list, dictionary or tuple; the first two are changed in place."""
        pairs = part.items() if isinstance(part, dict) else enumerate(part)
        nested = [(key, item) for key, item in pairs if isinstance(item, PARTS)]
        converted = [(key, self(item)) for key, item in nested]
        size = 1 + len(part) + sum(self.done[id(item)][2] or 0 for _, item in nested)
        if size > MOST_PARTS:
            raise ValueError("its parts stand there over and over")
        if isinstance(part, tuple):
            return (tuple(map(self, part)) if nested else part), size
        for key, item in converted:
            part[key] = item
        return part, size


PARTS = (StandIn, Global, list, dict, tuple)
