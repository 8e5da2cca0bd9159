"""One training in one work folder: what it starts from, its step, its files and its results."""

import time

import torch

from common import console, parallel
from common.device import autocast
from common.diffusion.scores import make_score
from common.errors import InputError
from common.files import append_text
from common.formats.checkpoints import save_torch
from common.score.container import read_checkpoint
from common.score.models import build_network, build_sde, trainable
from common.training.keep import Periodic
from common.training.log import Log
from common.training.loop import Loop
from common.training.plan import Plan
from tools.qc_ncsn.data import cached_reader, open_images
from tools.qc_ncsn.train.metric import SampleMetric
from tools.qc_ncsn.train.snapshots import test_snapshot
from tools.qc_ncsn.train.step import (
    ScoreBatches,
    ScoreLoss,
    checkpoint_state,
    load_training_state,
    make_average,
    make_optimiser,
)

ADVICE = ("Use another --workdir, --restore the last checkpoint, and lower --config.optim.lr or --balancing_fac")


class ScoreTraining:
    """One run in one work folder.

    restored: the dictionary of --restore's checkpoint, or None.  overwrite: ignore the folder's earlier state.
    unreadable: the Unreadable of its images.
    Making one reads and checks everything a run starts from, and writes nothing; `loop` does the work.
    """

    def __init__(self, options, config, work, images, unreadable, device, restored=None, overwrite=False):
        self.options, self.config, self.work, self.device = options, config, work, device
        self.training, self.balancing_factor = config["training"], config["loss"]["balancing_fac"]
        self.network = build_network(config, options.seed).to(device).train()
        self.network.activation_checkpointing = options.activation_checkpointing
        self.sde = build_sde(config)
        self.first, self.last = self.training["init_step"], self.training["n_iters"]
        self.optimiser = make_optimiser(self.network, config["optim"], self.last - self.first + 1, options.fused)
        self.average = make_average(self.network, config["model"]["ema_rate"])
        self.unreadable = unreadable
        read = cached_reader(images, options.memory_gb, unreadable)
        self.batches = ScoreBatches(read, len(images), options.seed, self.training["batch_size"],
                                    config["loss"]["slices"], config["data"]["random_flip"])
        self.metric = SampleMetric(config, self.sde, read, len(images), options.seed, device) \
            if self.training["snapshot_metric"] else None
        self.slices = config["loss"]["slices"] if config["loss"]["slice_masks"] == "separate" else 1
        if restored is not None:
            load_training_state(restored, options.restore, self.network, self.optimiser, self.average,
                                options.fresh_optimizer)
        self.parameters = sum(parameter.numel() for _, parameter in trainable(self.network))
        self.start = "random weights" if restored is None else options.restore
        self.done, self.saved = self.first - 1, None
        self.log = Log(work.root, options.tensorboard, options.wandb,
                       {"loss": "training_loss", "reg": "training_reg"}, [_Notes(work.log)])
        self._check_parts()
        # opened now, so that what is wrong with it is found before the first step
        self.test_images = open_images(config, options.data_dir, "test", unreadable.names) \
            if self.training["snapshot_nll"] else None
        if not overwrite:
            self._resume()

    def _check_parts(self):
        batch, parts = self.training["batch_size"], parallel.world_size() * self.options.accumulate
        if batch < parts:
            raise InputError(f"a batch of {batch} cannot be split into {parts} parts", where="--bs",
                             do="Use a larger batch, fewer processes or a smaller --accumulate")

    def _resume(self):
        """Load the newest checkpoint of this folder that can be read, if there is one."""
        state, where = self._newest_state()
        if state is None:
            return
        if not isinstance(state.get("step"), int):
            raise InputError("this checkpoint does not store its training step", where=where,
                             do="Use another --workdir, and pass the file to --restore with --init_step")
        if state["step"] > self.last:
            raise InputError(f"this checkpoint is of step {state['step']:,}, past the last step {self.last:,}",
                             where=where, do="Pass a larger --n_iters, or another --workdir")
        self.done = state["step"]
        self.saved = state["step"] if where == self.work.meta_checkpoint else None
        self.start = f"{where} (step {state['step']:,})"

    def _newest_state(self):
        """Return (dictionary, path) of the newest whole checkpoint, with its state loaded; (None, None) without any.

        A damaged one is named and passed over for the one before it; where all are damaged the newest is an InputError.
        """
        meta, failures = self.work.meta_checkpoint, []
        snapshots = [(number * self.training["snapshot_freq"], path) for number, path in self.work.snapshots()]
        candidates = [(None, meta)] * meta.exists() + snapshots
        if snapshots and meta.exists():  # a snapshot is newer where a run was killed between the two
            try:
                later = snapshots[0][0] > read_checkpoint(meta).get("step", -1)
            except InputError:
                later = False
            candidates = [snapshots[0], (None, meta), *snapshots[1:]] if later else candidates
        for step, path in candidates:
            try:
                state = read_checkpoint(path)
                if step is not None:
                    state.setdefault("step", step)
                load_training_state(state, path, self.network, self.optimiser, self.average,
                                    resume="genprobe" in state)
            except InputError as error:
                failures.append(error)
                continue
            for error in failures:
                console.say(f"note: {error.where}: {error.what}; going back to {path}")
            return state, path
        if failures:
            raise failures[0]
        return None, None

    def loop(self):
        """Run the remaining steps and return the results."""
        training, options = self.training, self.options
        score = make_score(self.network, self.config["model"]["energy"])
        module = ScoreLoss(self.network, score, self.sde, self.config["loss"], training["likelihood_weighting"])
        every = training["snapshot_freq"]
        # The state is saved before a snapshot, too: evaluating one may take long.
        plan = Plan(self.first, self.last, training["batch_size"], training["log_freq"],
                    (training["snapshot_freq_for_preemption"], every), options.accumulate, options.num_workers,
                    log_speed=False)
        snapshots = Periodic(every, lambda step: self.work.checkpoint(step // every), self._snapshot,
                             self._has_snapshot)
        self.trainer = Loop(plan, self.batches.draw, self._step,
                            lambda step: self._save(self.work.meta_checkpoint, step), self.log,
                            {"network": self.optimiser}, [self.average],
                            {"network": torch.compile(module) if options.compile else module}, [snapshots],
                            device=self.device, advice=ADVICE, done=self.done, saved=self.saved,
                            shown=("loss", "reg") if self.balancing_factor > 0 else ("loss",))
        try:
            self.trainer.run()
        except InputError:
            if parallel.is_main() and self.trainer.saved is None:
                self.unreadable.discard()
            raise
        if self.unreadable.met:
            console.say(f"warning: {len(self.unreadable.met):,} unreadable images were replaced by other draws")
        row = self.trainer.last_row
        return {"step": self.last, "training_loss": row and row["loss"], "training_reg": row and row["reg"],
                "damaged": len(self.unreadable.met),
                "parameters": self.parameters,
                "images_per_second": self.trainer.images_per_second}

    def _step(self, step, parts):
        """One optimiser step; returns mean DSM, mean regulariser, learning rate and gradient norm."""
        def loss(part):
            x0, u, z, v = part.draws
            self.network.set_dropout_draw(self.batches.dropout_draw(step, part.first, part.last, self.slices))
            with autocast(self.device, self.options.precision):
                dsm, reg = self.trainer.modules["network"](x0, self.sde.train_time(u), z, v)
            rows = dsm + self.balancing_factor * reg if self.balancing_factor > 0 else dsm
            return rows.sum(), (dsm.sum(), reg.sum())

        sums, rate, norm = self.trainer.update("network", parts, loss)
        dsm, reg = (sums / self.training["batch_size"]).tolist()
        return {"loss": dsm, "reg": reg, "lr": rate, "grad_norm": norm}

    def _save(self, path, step):
        self.unreadable.save()
        save_torch(path, checkpoint_state(self.network, self.optimiser, self.average, step, self.config))

    def _snapshot(self, path, step):
        """Evaluate and save a snapshot; the one right after a restore is only saved, as it was evaluated before."""
        if step != self.first:
            test_snapshot(self, step)
        self._save(path, step)

    def _has_snapshot(self, step):
        path = self.work.checkpoint(step // self.training["snapshot_freq"])
        return path.exists() and read_checkpoint(path).get("step", step) == step


class _Notes:
    """stdout.txt in the original's form: level, file, time, message."""

    def __init__(self, path):
        self.path = path

    def add(self, values, step):
        """Append a line of the losses, or of a snapshot's likelihood."""
        shown = [f"{name}: {values[name]:.5e}" for name in ("training_loss", "training_reg", "nll", "frechet_distance")
                 if name in values]
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        append_text(self.path, f"INFO - training_run.py - {stamp} - step: {step}, {', '.join(shown)}\n")
