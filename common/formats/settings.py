"""Configuration files, YAML or JSON: plain values alone, each key once, no small file that unfolds to a huge one."""

import json

from common.errors import InputError
from common.files import system_errors, unique_pairs

LARGEST = 1 << 20  # bytes; the largest published configuration has 14 kB, and YAML is read at 0.3 MB/s
MOST_VALUES = 100_000  # of one file, each counted as often as it stands there
DEEPEST = 100  # brackets within brackets, which take PyYAML the square of their number
MOST_PAIRS = 10_000  # that merged mappings ("<<") come to: two lines can double them


def read_settings(path, *, repeated_keys=False):
    """Return the value of a YAML file, or of a JSON file (by its suffix).

    repeated_keys: take the last value of a repeated key, as PyYAML and json do.
    Raises InputError naming the file where it is missing, damaged, too large, repeats a key, or unfolds without end by
    its anchors.
    """
    with system_errors(path), open(path, "rb") as stream:
        data = stream.read(LARGEST + 1)
    try:
        if len(data) > LARGEST:
            raise ValueError(f"larger than {LARGEST:,} bytes")
        text = data.decode("utf-8-sig")
        if not str(path).lower().endswith(".json"):
            return yaml_value(text, repeated_keys=repeated_keys)
        value = json.loads(text, object_pairs_hook=None if repeated_keys else unique_pairs)
        _count(value, {})
        return value
    except (ValueError, RecursionError) as error:
        raise InputError(f"neither valid YAML nor JSON ({error})", where=path, do="Correct the file") from error


def yaml_value(text, *, repeated_keys=False):
    """Return the plain value of a YAML text; ValueError, the reason in one line, for what `read_settings` refuses."""
    import yaml

    try:
        value = yaml.load(text, _loader(repeated_keys))
        _count(value, {})
        return value
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error


def _loader(repeated_keys):
    """Return PyYAML's safe loader with merged mappings and open brackets counted."""
    import yaml

    class Loader(yaml.SafeLoader):
        """Builds plain values; ValueError for a repeated key, or merges or brackets without end."""

        def fetch_flow_collection_start(self, kind):
            super().fetch_flow_collection_start(kind)
            if self.flow_level > DEEPEST:
                raise ValueError(f"nested more than {DEEPEST} deep")

        def compose_mapping_node(self, anchor):
            node = super().compose_mapping_node(anchor)
            if not repeated_keys:  # looked for before merging: a mapping may override what is merged into it
                _refuse_repeated([key for key, _ in node.value if isinstance(key, yaml.ScalarNode)])
            return node

        def flatten_mapping(self, node):
            super().flatten_mapping(node)
            if len(node.value) > MOST_PAIRS:
                raise ValueError("its merged mappings unfold without end")

    return Loader


def _refuse_repeated(keys):
    """Raise ValueError where two of a mapping's scalar nodes are the same key."""
    known = {}
    for key in keys:
        first = known.setdefault((key.tag, key.value), key)
        if first is not key:
            lines = " and ".join(str(node.start_mark.line + 1) for node in (first, key))
            raise ValueError(f"the key '{key.value}' is repeated, in lines {lines}")


def _count(value, known):
    """Return how many values there are in one, those of an anchor as often as it is used; ValueError beyond all use.

    known: {id: count} of the containers counted before, None while one is being counted: it then holds itself.
    """
    if not isinstance(value, (dict, list, tuple, set)):
        return 1
    if id(value) not in known:
        known[id(value)] = None
        parts = [*value, *value.values()] if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_count(part, known) for part in parts)
    count = known[id(value)]
    if count is None or count > MOST_VALUES:
        raise ValueError("a part of it holds itself" if count is None else "its anchors unfold without end")
    return count
