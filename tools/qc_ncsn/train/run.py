"""The training loop: steps, logs, snapshots, resuming, and stopping without losing anything."""

import copy
import gc
import json
import signal
import time
from contextlib import nullcontext

import numpy as np
import torch

from common import console, parallel
from common.device import autocast
from common.diffusion.rk45 import StepTooSmall
from common.diffusion.scores import make_score
from common.errors import InputError
from common.files import append_text, write_text
from common.formats.checkpoints import save_torch
from common.prefetch import Ahead
from common.score.models import build_network, build_sde, read_checkpoint, trainable
from tools.qc_ncsn.train.step import (
    Batches,
    ExponentialMovingAverage,
    LossModule,
    Optimiser,
    checkpoint_state,
    load_training_state,
)


class TrainingRun:
    """One run in one work folder.

    restored: the dictionary of --restore's checkpoint, or None.  anew: leave aside what the folder holds.
    Making one reads and checks everything a run starts from, and writes nothing; `loop` does the work.
    """

    def __init__(self, options, config, work, images, device, restored=None, anew=False):
        self.options, self.config, self.work, self.device = options, config, work, device
        self.training, self.loss = config["training"], config["loss"]
        self.first_step, self.last_step = self.training["init_step"], self.training["n_iters"]
        self.network = build_network(config, options.seed).to(device).train()
        self.network.activation_checkpointing = options.activation_checkpointing
        self.sde = build_sde(config)
        self.score = make_score(self.network, config["model"]["energy"])
        self.optimiser = Optimiser(self.network, config["optim"], self.last_step - self.first_step + 1)
        self.ema = ExponentialMovingAverage([p for _, p in trainable(self.network)], config["model"]["ema_rate"])
        self.batches = Batches(images, options.seed, self.training["batch_size"], self.loss["slices"],
                               config["data"]["random_flip"])
        self.next_step = self.first_step
        if restored is not None:
            load_training_state(restored, options.restore, self.network, self.optimiser, self.ema,
                                options.fresh_optimizer)
        self.rows = self._own_rows()
        self.stop, self.saved_step = False, None
        if not anew:
            self._resume()

    def _wrap(self, module):
        if self.options.compile:
            module = torch.compile(module)
        if parallel.world_size() > 1:
            ids = [self.device.index] if self.device.type == "cuda" else None
            module = torch.nn.parallel.DistributedDataParallel(module, device_ids=ids, broadcast_buffers=False)
        return module

    def _unwrap(self):
        """Let go of DistributedDataParallel while its process group is still there.

        Were it the group's last holder, its end would wait for the communication threads with the interpreter locked,
        which these need to drop their tensors: both might wait for ever.
        """
        self.module = None
        if parallel.world_size() > 1:
            gc.collect()

    def _own_rows(self):
        """Return [(first, last)] of the micro-batches of this process within each step's batch."""
        batch, parts = self.training["batch_size"], parallel.world_size() * self.options.accumulate
        if batch < parts:
            raise InputError(f"a batch of {batch} cannot be split into {parts} parts", where="--bs",
                             do="Use a larger batch, fewer processes or a smaller --accumulate")
        return parallel.own_rows(batch, self.options.accumulate)

    def _resume(self):
        """Take over the newest checkpoint of this folder, if there is one."""
        newest = self.work.newest_checkpoint()
        state, where = None, None
        if self.work.meta_checkpoint.exists():
            state, where = read_checkpoint(self.work.meta_checkpoint), self.work.meta_checkpoint
        if newest is not None:
            step = int(newest.stem.split("_")[1]) * self.training["snapshot_freq"]
            if state is None or step > state.get("step", -1):
                state, where = read_checkpoint(newest), newest
                state.setdefault("step", step)
        if state is None:
            return
        if not isinstance(state.get("step"), int):
            raise InputError("this checkpoint does not say after which step it was saved", where=where,
                             do="Use another --workdir, and pass the file as --restore with --init_step")
        if state["step"] > self.last_step:
            raise InputError(f"this checkpoint is of step {state['step']:,}, past the last step {self.last_step:,}",
                             where=where,
                             do="Pass a larger --n_iters, or another --workdir")
        load_training_state(state, where, self.network, self.optimiser, self.ema, resume="genprobe" in state)
        self.next_step = state["step"] + 1
        self.saved_step = state["step"] if where == self.work.meta_checkpoint else None
        console.say(f"going on from {where} (step {state['step']:,})")

    def loop(self):
        """Run the remaining steps and return the results."""
        module = LossModule(self.network, self.score, self.sde, self.loss, self.training["likelihood_weighting"])
        self.module = self._wrap(module)
        row = self._start_logs() if parallel.is_main() else None
        handlers = {name: signal.signal(name, self._ask_to_stop) for name in (signal.SIGTERM, signal.SIGINT)}
        began, done = time.monotonic(), 0
        total = self.last_step - self.first_step + 1
        try:
            if self.first_step < self.next_step:
                self._pending_snapshot(self.next_step - 1)
            with console.progress("training", total, self.next_step - self.first_step,
                                  "step") as advance, self._draws() as draws:
                for step in range(self.next_step, self.last_step + 1):
                    log = step % self.training["log_freq"] == 0 or step == self.last_step
                    values = self._step(step, next(draws), log)
                    done += 1
                    if log:
                        row = self._log(step, values, began)
                    self._save_due(step)
                    self._snapshot(step)
                    advance(1, f"loss {row['loss']:.3f}" if row else "")
                    if self._all_stop():
                        self._save_state(step)
                        raise KeyboardInterrupt
            self._save_state(self.last_step)
        finally:
            for name, handler in handlers.items():
                signal.signal(name, handler)
            self._unwrap()
        rate = done * self.training["batch_size"] / max(time.monotonic() - began, 1e-9)
        return {"step": self.last_step, "training_loss": row and row["loss"], "training_reg": row and row["reg"],
                "parameters": sum(p.numel() for _, p in trainable(self.network)),
                "images_per_second": round(rate, 2)}

    def _ask_to_stop(self, signum, frame):
        self.stop = True

    def _all_stop(self):
        """True when any process was asked to stop: all of them then leave after the same step."""
        return bool(parallel.sum_across(torch.tensor(float(self.stop), device=self.device)))

    def _step(self, step, draws, log):
        """One optimiser step; returns (mean DSM, mean regulariser, learning rate, gradient norm) when `log`."""
        self.optimiser.adam.zero_grad(set_to_none=True)
        batch, sums = self.training["batch_size"], torch.zeros(2, device=self.device)
        slices = self.loss["slices"] if self.loss["slice_masks"] == "separate" else 1
        for index, ((first, last), (x0, u, z, v)) in enumerate(zip(self.rows, draws)):
            self.network.set_dropout_draw(self.batches.dropout_draw(step, first, last, slices))
            is_last = index == len(self.rows) - 1
            wait = nullcontext() if is_last or parallel.world_size() == 1 else self.module.no_sync()
            with wait:
                with autocast(self.device, self.options.precision):
                    dsm, reg = self.module(x0, self.sde.train_time(u), z, v)
                # Processes' gradients are averaged, rows are summed: so the whole batch's mean at any split.
                total = (dsm + self.loss["balancing_fac"] * reg).sum() if self.loss["balancing_fac"] > 0 else dsm.sum()
                (total * (parallel.world_size() / batch)).backward()
            sums += torch.stack([dsm.sum(), reg.sum()]).detach().float()
        rate, norm = self.optimiser.step()
        if not np.isfinite(norm):
            raise InputError(f"the gradient is no longer finite at step {step:,}", where=self.work.root,
                             do="Train in another --workdir with --restore of the last checkpoint and a smaller "
                                "--config.optim.lr or --balancing_fac")
        self.ema.update()
        if not log:
            return None
        dsm, reg = (parallel.sum_across(sums) / batch).tolist()
        return dsm, reg, rate, norm

    def _draws(self):
        return Ahead(lambda step: [self.batches.draw(step, first, last, self.device) for first, last in self.rows],
                     range(self.next_step, self.last_step + 1), self.options.num_workers)

    def _start_logs(self):
        """Drop log lines of steps that are done again; return the last one kept, or None."""
        self.work.root.mkdir(parents=True, exist_ok=True)
        kept = []
        lines = self.work.json_log.read_text(errors="replace").splitlines() if self.work.json_log.exists() else []
        for line in lines:
            try:
                row = json.loads(line)
            except ValueError:  # the half line of a killed run
                continue
            if isinstance(row, dict) and row.get("step", self.next_step) < self.next_step:
                kept.append(row)
        write_text(self.work.json_log, "".join(f"{json.dumps(row)}\n" for row in kept))
        self.writer = self._tensorboard() if self.options.tensorboard else None
        return kept[-1] if kept else None

    def _note(self, text):
        """Append a line to stdout.txt in the original's form: level, file, time, message."""
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        append_text(self.work.log, f"INFO - training_run.py - {stamp} - {text}\n")

    def _tensorboard(self):
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise InputError("tensorboard is not installed", where="--tensorboard",
                             do="pip install tensorboard, or leave the flag out; log.jsonl holds the same") from error
        return SummaryWriter(str(self.work.tensorboard), purge_step=self.next_step)

    def _log(self, step, values, began):
        loss, reg, rate, norm = values
        row = {"step": step, "loss": loss, "reg": reg, "lr": rate, "grad_norm": norm,
               "seconds": round(time.monotonic() - began, 3)}
        if parallel.is_main():
            append_text(self.work.json_log, json.dumps(row) + "\n")
            self._note(f"step: {step}, training_loss: {loss:.5e}, training_reg: {reg:.5e}")
            if self.writer:
                self.writer.add_scalar("training_loss", loss, step)
                self.writer.add_scalar("training_reg", reg, step)
        return row

    def _save(self, path, step):
        if parallel.is_main():
            save_torch(path, checkpoint_state(self.network, self.optimiser, self.ema, step, self.config))
        parallel.barrier()

    def _save_state(self, step):
        """Save what a resumed run goes on from, unless it is of this step already."""
        if self.saved_step != step:
            self._save(self.work.meta_checkpoint, step)
            self.saved_step = step

    def _save_due(self, step):
        """Save the state at the steps that ask for it, and before a snapshot, whose tests may take long."""
        due = (self.training["snapshot_freq_for_preemption"], self.training["snapshot_freq"])
        if step and any(step % every == 0 for every in due):
            self._save_state(step)

    def _snapshot(self, step):
        """Test and save a snapshot if this step is one. One right after a start is a file alone: its tests ran
        before."""
        if step == 0 or step % self.training["snapshot_freq"]:
            return
        if step != self.first_step and parallel.is_main():
            self._test_snapshot(step)
        self._save(self.work.checkpoint(step // self.training["snapshot_freq"]), step)

    def _pending_snapshot(self, step):
        """Make up for the snapshot of a run that was killed after saving its state: the file comes after the tests."""
        if step % self.training["snapshot_freq"]:
            return
        path = self.work.checkpoint(step // self.training["snapshot_freq"])
        there = path.exists() and read_checkpoint(path).get("step", step) == step if parallel.is_main() else None
        if not parallel.gather_objects(there)[0]:
            self._snapshot(step)

    def _test_snapshot(self, step):
        """NLL of one test batch with the raw weights, nine samples with the averaged ones, as far as asked for."""
        from tools.qc_ncsn.train.snapshots import sample_nine, test_nll

        network = copy.deepcopy(self.network).eval().requires_grad_(False)
        score = make_score(network, self.config["model"]["energy"])
        if self.training["snapshot_nll"]:
            try:
                nll = test_nll(score, self.sde, self.config, self.options, self.device)
            except StepTooSmall:  # a network in the middle of its training may be that far off
                nll = float("nan")
            self._note(f"step: {step}, nll: {nll:.5e}")
            if self.writer:
                self.writer.add_scalar("nll", nll, step)
        if self.training["snapshot_sampling"]:
            for (_, parameter), shadow in zip(trainable_again(network), self.ema.shadow):
                parameter.data.copy_(shadow)
            folder = self.work.samples / f"iter_{step}"
            sample_nine(score, self.sde, self.config, self.options.seed, self.device, folder)


def trainable_again(network):
    """Return [(name, parameter)] of a frozen copy in the order of `shadow_params`: all but the Fourier frequencies."""
    return [(name, parameter) for name, parameter in network.named_parameters() if name != "all_modules.0.W"]
