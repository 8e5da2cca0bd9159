"""The job files of docs/scaling: their settings are a scheduler's, their commands the tools', and their entry works."""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.documents import understand
from tests.tools.commands import ROOT, environment
from tests.tools.train_edm.runs import NETWORK, write_colours

FOLDER = ROOT / "docs" / "scaling"
SBATCH = {"job-name", "nodes", "ntasks-per-node", "gpus-per-node", "cpus-per-task", "mem", "time", "signal", "requeue",
          "output"}
TINY = (*NETWORK, "--class_map", "none", "--batch_size", "4", "--steps", "4", "--samples_per_class", "0", "--log_every",
        "1", "--device", "cpu")


def slurm_commands(text):
    """Return the commands that a SLURM script gives launch.sh, its variables filled in."""
    joined = text.replace("\\\n", " ")
    return [shlex.split(line.split("launch.sh", 1)[1].replace('"$DATA"', "ILSVRC").replace('"$@"', ""))
            for line in joined.splitlines() if "launch.sh" in line and not line.startswith("#")]


def test_slurm_settings_are_known_and_the_command_is_understood():
    for path in FOLDER.glob("*.slurm"):
        text = path.read_text()
        settings = re.findall(r"^#SBATCH --([\w-]+)(?:=(\S+))?$", text, re.MULTILINE)
        assert {name for name, _ in settings} <= SBATCH
        assert dict(settings)["ntasks-per-node"] == "1"  # torchrun starts the processes
        assert text.count("#SBATCH") == len(settings)
        (command,) = slurm_commands(text)
        assert understand(shlex.join(command)).options.precision == "bf16"


def test_the_kubernetes_job_is_whole_and_its_command_is_understood():
    service, job = yaml.safe_load_all((FOLDER / "extract.yaml").read_text())
    assert (service["kind"], job["kind"], job["spec"]["completionMode"]) == ("Service", "Job", "Indexed")
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    variables = {each["name"]: each["value"] for each in container["env"]}
    assert int(variables["NODES"]) == job["spec"]["completions"] == job["spec"]["parallelism"]
    assert variables["HEAD"] == f"{job['metadata']['name']}-0.{pod['subdomain']}"
    assert (pod["subdomain"], service["spec"]["clusterIP"]) == (service["metadata"]["name"], "None")
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert {each["name"] for each in container["volumeMounts"]} == {each["name"] for each in pod["volumes"]}
    assert (ROOT / container["command"][1]).is_file()
    assert understand(shlex.join(container["args"])).options.num_samples == 1281167


@pytest.mark.parametrize("path", [*FOLDER.glob("*.sh"), *FOLDER.glob("*.slurm")], ids=lambda path: path.name)
def test_the_shell_reads_the_scripts(path):
    assert subprocess.run(["bash", "-n", path], check=False).returncode == 0


def free_port():
    """Return a port that nobody has."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


def variables(folder, **more):
    """Return the environment of a machine whose current folder is `folder`."""
    return {**environment(), "PYTHON": sys.executable, "PYTHONPATH": str(ROOT), "PROCESSES": "1", "PORT": free_port(),
            "GENPROBE_CACHE": str(folder / "cache"), **more}


def losses(folder):
    """Return the losses of a training."""
    return [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """A folder with images, in which one process has trained into `one`."""
    from tests.tools.commands import call_tool

    folder = tmp_path_factory.mktemp("scaling")
    write_colours(folder / "colours")
    ended = call_tool("train_edm", "--npz_dir", folder / "colours", *TINY, "--output_dir", folder / "one", "--quiet")
    assert ended.status == 0, ended.err
    return folder


@pytest.mark.long
def test_two_machines_train_like_one_process(one):
    words = ["train_edm", "--npz_dir", "colours", *TINY, "--output_dir", "two", "--quiet"]
    shared = variables(one, NODES="2", HEAD="127.0.0.1")
    machines = [subprocess.Popen(["bash", FOLDER / "launch.sh", *words], cwd=one,
                                 env={**shared, "NODE_RANK": str(rank)}) for rank in range(2)]
    assert [machine.wait(timeout=300) for machine in machines] == [0, 0]
    assert losses(one / "two") == pytest.approx(losses(one / "one"), rel=1e-5)


@pytest.mark.long
def test_the_slurm_script_runs_under_a_stand_in_for_srun(one, tmp_path):
    """srun starts its words on two machines at once, each with its number; scontrol names the first."""
    programs = {"srun": 'shift\nfor rank in 0 1; do SLURM_NODEID=$rank "$@" & jobs="${jobs:-} $!"; done\n'
                        'for job in $jobs; do wait "$job" || exit 1; done',
                "scontrol": "printf '127.0.0.1\\nother\\n'"}
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    shutil.copytree(FOLDER, one / "docs" / "scaling", dirs_exist_ok=True)
    given = variables(one, SLURM_NNODES="2", SLURM_JOB_NODELIST="node[0-1]", PATH=f"{tmp_path}:{os.environ['PATH']}",
                      DATA="colours")
    changed = ["--npz_dir", "colours", *TINY, "--output_dir", "slurm", "--precision", "fp32", "--quiet"]
    script = Path(one / "docs" / "scaling" / "train_edm.slurm")
    script.write_text(script.read_text().replace('--preset imagenet64 --data "$DATA"', "").replace(
        "--preprocess center-crop", ""))
    done = subprocess.run(["bash", script, *changed], cwd=one, env=given, capture_output=True, text=True, timeout=300,
                          check=False)
    assert done.returncode == 0, done.stderr
    assert losses(one / "slurm") == pytest.approx(losses(one / "one"), rel=1e-5)


@pytest.mark.long
def test_without_settings_it_is_one_process(one):
    given = {name: value for name, value in variables(one).items() if name != "PROCESSES"}
    words = ["train_edm", "--npz_dir", "colours", *TINY, "--output_dir", "alone", "--device", "cpu", "--quiet"]
    done = subprocess.run(["bash", FOLDER / "launch.sh", *words], cwd=one, env=given, timeout=300, check=False)
    assert done.returncode == 0
    assert losses(one / "alone") == losses(one / "one")


def test_no_tool_is_said_in_one_line():
    done = subprocess.run(["bash", FOLDER / "launch.sh"], env=variables(Path("/tmp")), capture_output=True, text=True,
                          check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
