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

from docs.scaling import costs
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


@pytest.mark.long
def test_the_operations_of_the_cost_model_are_those_that_are_counted():
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from common.networks.adm import EDMPrecond
    from common.networks.adm_config import AdmConfig
    from common.networks.decision_networks import DecisionConfig, build_decision_model
    from common.networks.inception import InceptionV3
    from common.networks.quantile_encoder import build_encoder, preset_config

    makers = {
        "adm": (lambda: EDMPrecond(AdmConfig(64, label_dim=1000)), (3, 64, 64), ((1,), (1, 1000))),
        "inception": (InceptionV3, (3, 299, 299), ()),
        "ir_se50": (lambda: build_encoder(preset_config("ir_se50", 9088)), (3, 256, 256), ()),
        "densenet121": (lambda: build_decision_model(DecisionConfig("densenet121", tuple("abcd"), (256, 512))),
                        (3, 256, 512), ())}
    for name, (make, shape, more) in makers.items():
        with torch.device("meta"):
            network, inputs = make().eval(), [torch.empty(1, *shape), *map(torch.empty, more)]
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(*inputs)
        assert counter.get_total_flops() == pytest.approx(costs.FORWARD[name], rel=1e-3), name


@pytest.mark.long
def test_what_activations_take_on_the_disk_is_the_formulas_at_two_sizes(tmp_path, monkeypatch):
    from tests.tools.activation_networks import save_network
    from tests.tools.commands import results_of
    from tests.tools.train_edm.runs import write_colours

    monkeypatch.chdir(tmp_path)
    save_network("network.safetensors")
    write_colours(Path("colours"), each=100)
    for count in (100, 300):
        results = results_of("extract_real_imagenet", "--checkpoint_path", "network.safetensors", "--npz_dir",
                             "colours", "--class_map", "none", "--num_samples", count, "--format", "npy",
                             "--output_dir", f"out{count}", "--device", "cpu")
        stored = sum(path.stat().st_size for path in Path(f"out{count}").rglob("*.npy"))
        formula = count * (4 * sum(results["widths"].values()) + 2 * 8 * 8 * 3)
        assert stored == pytest.approx(formula, rel=0.05)


def test_the_table_of_costs_on_the_page_is_the_programs():
    page = (ROOT / "docs" / "scaling.md").read_text()
    assert "\n".join(costs.table(100e12)) in page
    assert costs.shown(1.5e12, "B") == "1.5 TB"
    by_name = {(cost.tool, cost.of): cost for cost in costs.costs()}
    stored = by_name["extract_real_imagenet", "image, two layers"].total(costs.IMAGENET)[2]
    assert stored == costs.IMAGENET * (98_304 * 4 + 2 * 12_288)
