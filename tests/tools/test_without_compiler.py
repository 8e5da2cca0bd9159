"""No command imports torch's compiler or SymPy, which would double its start, unless it is asked to compile."""

import subprocess
import sys

import pytest

from tests.tools.commands import ROOT, environment
from tests.tools.every_command import COMMANDS, make_inputs

CODE = """
import shutil, sys
from tests.tools.every_command import COMMANDS
for name, command in COMMANDS.items():
    shutil.rmtree("out", ignore_errors=True)
    ended = command.run()
    assert ended.status == 0, ended.err
    slow = {"sympy", "torch._dynamo", "torch._inductor"} & set(sys.modules)
    assert not slow, f"{name}: {slow}"
    print(name)
"""


@pytest.mark.long
def test_no_command_imports_the_compiler(tmp_path):
    make_inputs(tmp_path)
    done = subprocess.run([sys.executable, "-c", CODE], cwd=tmp_path, env={**environment(), "PYTHONPATH": str(ROOT)},
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(COMMANDS) <= set(done.stdout.splitlines())
