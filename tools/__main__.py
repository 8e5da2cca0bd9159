"""List the tools (`python -m tools`), their presets (`python -m tools presets`), or the data sets that need no download
(`python -m tools data`).

A tool is described by the first line of its docstring, parsed without importing it.
"""

import ast
import importlib
import sys
from pathlib import Path

from common.errors import InputError, nearest

FOLDER = Path(__file__).parent

EMBEDDED = {
    "digits": "scikit-learn's scans of handwritten digits: 8x8, grey, 1,500 train and 297 test images, labels 0-9",
    "photos32": "patches of scikit-learn's two photographs: 32x32 RGB, 6,100 train and 1,300 test, no shared pixels",
    "photos64": "the same photographs: 64x64 RGB, 5,244 train and 828 test patches",
}


def find_tools(folder=FOLDER):
    """Return {name: first docstring line} of every tool: modules in tools/, and folders in it with a __main__.py."""
    files = {path.stem: path for path in folder.glob("*.py") if not path.name.startswith("_")}
    files |= {path.parent.name: path for path in folder.glob("*/__main__.py")}
    return {name: _first_line(path) for name, path in sorted(files.items())}


def _first_line(path):
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0].strip()


def preset_modules(folder=FOLDER):
    """Return {tool: module} of each tools/*/presets.py: its table PRESETS {name: one line} and its FLAG."""
    names = sorted(path.parent.name for path in folder.glob("*/presets.py"))
    return {name: importlib.import_module(f"tools.{name}.presets") for name in names}


def _show(rows):
    """Print names and their lines in two columns."""
    width = max((len(name) for name in rows), default=0)
    for name, line in rows.items():
        print(f"  {name:<{width}}  {line}".rstrip())


def show_tools():
    """Print the table of tools."""
    print("python -m tools.NAME --help lists the flags of a tool\n")
    _show(find_tools())
    print("\npython -m tools presets   presets of the tools\npython -m tools data      data sets that need no download")


def show_presets():
    """Print each tool's presets."""
    for tool, module in preset_modules().items():
        print(f"{tool}: {module.FLAG} NAME\n")
        _show(module.PRESETS)
        print()


def show_data():
    """Print the embedded data sets."""
    print("for --dataset, --data and the like; they come with scikit-learn\n")
    _show(EMBEDDED)


LISTS = {"tools": show_tools, "presets": show_presets, "data": show_data}


def main(words):
    """Print the list that the first word names and return the exit status."""
    if "--help" in words or "-h" in words:
        print(__doc__.strip())
        return 0
    name = words[0] if words else "tools"
    if name not in LISTS or len(words) > 1:
        word = name if name not in LISTS else words[1]
        print(f"error: {InputError('no such list', where=f'python -m tools {word}', do=nearest(word, LISTS))}",
              file=sys.stderr)
        return 2
    LISTS[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
