"""Prints which of our functions are called while whole files are read: python -m tests.readers.met FOLDER KIND ..."""

import contextlib
import io
import json
import sys
import warnings
from pathlib import Path

from tests.readers.kinds import KINDS, readings
from tests.tools.commands import ROOT

OURS = (str(ROOT / "common"), str(ROOT / "tools"))


def main(folder, *kinds):
    """Read one file of each kind and print [[module's file, function's name], ...]."""
    warnings.simplefilter("ignore")
    met = set()

    def note(frame, event, _):
        if event == "call" and frame.f_code.co_filename.startswith(OURS):
            met.add((frame.f_code.co_filename, frame.f_code.co_name))

    for kind in kinds or KINDS:
        place = Path(folder) / kind.replace(" ", "_")
        place.mkdir(parents=True)
        path = KINDS[kind].make(place)
        sys.setprofile(note)
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                for read in readings(kind, path):
                    with contextlib.suppress(Exception):  # many readers of one file: most say that it is another's
                        read()
        finally:
            sys.setprofile(None)
    print(json.dumps(sorted((str(Path(file).relative_to(ROOT)), name) for file, name in met)))


if __name__ == "__main__":
    main(*sys.argv[1:])
