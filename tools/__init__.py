"""The tools: one command each; no tool imports another."""

import _signal as signal  # signal itself takes milliseconds, in which Ctrl-C would show a traceback
import os
import sys

# A tool is being started, by `python -m` or under its own name: until `common.cli.run` takes over, Ctrl-C ends the
# process in silence, where the imports would show a traceback.
_name = os.path.basename(sys.argv[0]) if sys.argv else ""
_is_started = _name == "-m" or (_name and os.path.isdir(os.path.join(os.path.dirname(__file__), _name)))
if _is_started and signal.getsignal(signal.SIGINT) == signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
