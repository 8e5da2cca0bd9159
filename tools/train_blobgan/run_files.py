"""What the original's run folders hold beside checkpoints: hydra_config.yaml and model_summary.txt."""

import fnmatch
from pathlib import Path

from common import parallel
from common.files import write_text
from tools.train_blobgan.keys import FLAG, KEYS, ONLY, SAME
from tools.train_blobgan.runs import RUNS
from tools.train_blobgan.translation import PRECISIONS, REPLACED

CONFIG, SUMMARY = "hydra_config.yaml", "model_summary.txt"
LEFT_OUT = "resume."  # what a run started from; its folder's configuration starts a training of its own


def is_run_folder(folder):
    """Return whether a folder is the `files` of a run that the original's words made."""
    folder = Path(folder)
    return folder.name == "files" and any(fnmatch.fnmatch(folder.parent.name, pattern) for pattern in RUNS)


def write_run_files(folder, options, networks):
    """Write both files. options: settled.  networks: {name: module}."""
    import yaml

    text = yaml.safe_dump(hydra_config(options), sort_keys=False, allow_unicode=True)
    write_text(Path(folder) / CONFIG, text)
    write_text(Path(folder) / SUMMARY, summary(networks))


def hydra_config(options):
    """Return {section: {key: value}}, nested plain values: the settled options by the original's keys.

    --config reads it: the same training comes out, but for flags of ours without a key, which run.json has.
    """
    found = {key: _value(getattr(options, entry.flag)) for key, entry in KEYS.items()
             if entry.fate == FLAG and not key.startswith(LEFT_OUT) and not _is_replaced(entry.flag, options)}
    found |= {key: only for key, (only, _) in ONLY.items()} | _translated(options)
    found |= {key: found[other] for key, other in SAME.items() if other in found}
    nested = {}
    for key, value in found.items():
        *sections, name = key.split(".")
        place = nested
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value
    return nested


def _value(value):
    return value if value is None or isinstance(value, (bool, int, float, list)) else str(value)


def _is_replaced(flag, options):
    """Return whether a flag without a key stands in for one."""
    return flag in REPLACED and bool(getattr(options, REPLACED[flag]))


def _translated(options):
    """Return the keys whose values are not those of a flag."""
    rows, size = options.stddev_rows, parallel.world_size()
    micro = options.batch_size // rows  # of the original: batches of one process and one backward pass
    processes = size if micro % size == 0 else 1
    turns = micro // processes
    found = {"logger": "wandb" if options.wandb else False, "model.G_reg_every": -1,
             "model.accumulate": options.ema_decay > 0, "trainer.precision": _precision(options.precision),
             "dataset.dataloader.batch_size": rows, "trainer.gpus": processes, "trainer.accumulate_grad_batches": turns}
    if options.max_images is not None and options.max_images % options.batch_size == 0:
        found["trainer.overfit_batches"] = options.max_images // options.batch_size
    if turns > 1:  # such intervals are divided by the number of turns where they are read
        found |= {key: getattr(options, entry.flag) * turns for key, entry in KEYS.items()
                  if "log" in key and "every_n_steps" in key}
    return found


def _precision(name):
    """Return a --precision as the original has it: 32 for fp32."""
    word = next(word for word, ours in PRECISIONS.items() if ours == name)
    return int(word) if word.isdecimal() else word


def summary(networks):
    """Return a table of networks {name: module}: their parts, classes and numbers of parameters."""
    rows = [("name", "type", "parameters")]
    for name, network in networks.items():
        rows.append((name, type(network).__name__, _count(network)))
        rows += [(f"{name}.{part}", type(module).__name__, _count(module)) for part, module in network.named_children()]
    rows.append(("total", "", _count(*networks.values())))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "".join(f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:>{widths[2]}}\n" for row in rows)


def _count(*modules):
    return f"{sum(parameter.numel() for module in modules for parameter in module.parameters()):,}"
