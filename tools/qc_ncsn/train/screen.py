"""What `qc_ncsn train` says at its start and end."""

from shlex import quote

from common import console, parallel
from common.numerals import counted
from common.score.config import FAMILIES
from tools.qc_ncsn.data import note_changes


def begin(run, images, repaired=0):
    """Say what is trained, on what, and from where; repaired: images that an earlier run could not read."""
    if not parallel.is_main():
        return
    config, loss = run.config, run.config["loss"]
    shape = " x ".join(map(str, images.image_shape))
    console.say(f"data: {config['data']['dataset']}, {images.split} split, {counted(len(images), 'image')} of {shape}")
    note_changes(images)
    if repaired:
        console.say(f"{counted(repaired, 'unreadable image')} repaired or removed since")
    console.say(f"network: {FAMILIES[family(config)]}, {run.parameters:,} parameters, on {run.device}")
    if run.options.compile and run.device.type == "cpu":
        console.say("note: compiling for a CPU takes minutes before the first step")
    if loss["balancing_fac"] > 0:
        console.say(f"regulariser: lambda {loss['balancing_fac']:g}, K = {loss['slices']}, {loss['reg_weight']}")
    console.say(f"steps {run.done + 1:,} to {run.last:,} at batch size {run.training['batch_size']}, from {run.start}, "
                f"into {run.work.root}")


def note_restored(config, restored, path):
    """Say in what a training differs from that of the checkpoint it starts from; restored: its dictionary, or None."""
    from common.score.config import differences
    from common.score.container import stored_config

    stored = None if restored is None else stored_config(restored)
    for name, ours, theirs in differences(config, stored) if stored and parallel.is_main() else ():
        console.say(f"note: {path} was trained with {name} {theirs}, this training has {ours}")


def family(config):
    """Return u, qc or c, what a configuration trains."""
    if config["model"]["energy"]:
        return "c"
    return "qc" if config["loss"]["balancing_fac"] > 0 else "u"


def plan(run, images, config, work):
    """Return (line, results) of a dry run; run: None where the training is done."""
    if run is None:
        return f"{work.root}: up to date, nothing to train", {"steps": 0, "images": len(images)}
    steps = run.last - run.done
    planned = counted(steps, "step")
    return (f"would train {planned} at batch size {config['training']['batch_size']} on {len(images):,} images "
            f"of {config['data']['dataset']}, from {run.start}, into {work.root}",
            {"steps": steps, "images": len(images)})


def end(run, options):
    """Say where the training ended."""
    if not parallel.is_main():
        return
    newest = run.work.newest_checkpoint()
    snapshot = f"newest snapshot {newest}, " if newest else ""
    console.say(f"trained to step {run.last:,}: {snapshot}state {run.work.meta_checkpoint}, log {run.work.json_log}")
    console.say(f"next: qc_ncsn sample --workdir {quote(options.workdir)}")
