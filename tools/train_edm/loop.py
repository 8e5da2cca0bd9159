"""The training loop: steps, log, pictures, snapshots, resuming, and stopping without losing anything."""

import copy
import gc
import json
import math
import signal
import time
from collections import deque
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch

from common import console, parallel
from common.errors import InputError
from common.files import append_text, write_text
from common.formats.checkpoints import load_strictly
from common.networks.adm import EDMPrecond
from common.networks.adm_weights import read_adm, save_adm
from common.nn.dropout import DropoutDraw
from common.prefetch import Ahead
from common.seeding import unit_seed
from tools.train_edm.batches import Batches, Pixels
from tools.train_edm.pictures import draw_samples, row_classes
from tools.train_edm.state import load_state, save_state
from tools.train_edm.step import LossModule, ema_decay, learning_rate, update_average

RECENT = 50  # steps whose losses the result is the mean of
EVALUATED = 256  # images of the averaged network's loss


class TrainingRun:
    """One run in one folder. Making one reads and checks everything it starts from; `loop` does the work.

    anew: leave aside what the folder holds.  done: steps that lie behind.
    """

    def __init__(self, options, config, source, device, anew=False):
        self.options, self.source, self.device, self.folder = options, source, device, Path(options.output_dir)
        # Measured on one x86 thread: a step of small32 takes 1.09 times less in float32 so, 1.2 times more in bfloat16.
        last = device.type == "cpu" and options.precision != "bf16"
        self.layout = torch.channels_last if last else torch.contiguous_format
        self.network = new_network(config, options.seed).to(device, memory_format=self.layout).train()
        if options.restore:
            restore(self.network, options.restore)
        self.average = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.adam = torch.optim.Adam(self.network.parameters(), lr=options.lr, betas=(0.9, options.beta2),
                                     eps=options.adam_eps,
                                     fused=device.type in ("cpu", "cuda"))
        self.pixels = Pixels(source, options.resolution, options.memory_gb)
        self.batches = Batches(self.pixels, source.classes, options.seed, options.batch_size, options.class_balanced,
                               options.xflip, options.p_mean, options.p_std)
        self.sampled = row_classes(source.classes, config.label_dim)
        self.rows = parallel.own_rows(options.batch_size, options.accumulate)
        self.done, self.losses, self.stop, self.saved = 0, deque(maxlen=RECENT), False, None
        if not anew and self.state_path.exists():
            self._resume()
        if options.precision == "bf16":
            self.network.body_dtype = torch.bfloat16

    @property
    def state_path(self):
        return self.folder / "checkpoint.pth"

    def _resume(self):
        self.done, losses = load_state(self.state_path, self.network, self.average, self.adam)
        if self.done > self.options.steps:
            raise InputError(f"{self.done:,} steps are done already", where=f"--steps {self.options.steps}",
                             do="Give a larger number, another --output_dir, or --overwrite to start anew")
        self.losses.extend(losses)
        self.saved = self.done
        console.say(f"going on from {self.state_path} (step {self.done:,})")

    def loop(self):
        """Run the remaining steps and return the results."""
        self.source.prepare(np.flatnonzero(self.source.classes >= 0))
        self.module, options = self._wrapped(), self.options
        if parallel.is_main():
            self._start_log()
        handlers = {name: signal.signal(name, self._ask_to_stop) for name in (signal.SIGTERM, signal.SIGINT)}
        self.began, self.began_at = time.monotonic(), self.done
        draw = lambda step: [self.batches.draw(step, first, last) for first, last in self.rows]  # noqa: E731
        try:
            with console.progress("training", options.steps, self.done, "step") as advance, \
                    Ahead(draw, range(self.done, options.steps), options.num_workers) as draws:
                while self.done < options.steps:
                    rate, norm, stop = self._step(self.done, next(draws))
                    self.done += 1
                    self._log(rate, norm)
                    self._keep()
                    advance(1, f"loss {np.mean(self.losses):.3f}")
                    if stop:
                        self._save()
                        raise KeyboardInterrupt
            seconds = time.monotonic() - self.began
            return self._conclude(seconds)
        finally:
            for name, handler in handlers.items():
                signal.signal(name, handler)
            self.module = None  # DistributedDataParallel has to go before its process group does
            if parallel.world_size() > 1:
                gc.collect()

    def _wrapped(self):
        if self.options.compile:
            self.network.model.compile()
        module = LossModule(self.network, self.layout)
        if parallel.world_size() > 1:
            ids = [self.device.index] if self.device.type == "cuda" else None
            module = torch.nn.parallel.DistributedDataParallel(module, device_ids=ids, broadcast_buffers=False)
        return module

    def _ask_to_stop(self, signum, frame):
        self.stop = True

    def _step(self, step, draws):
        """One optimiser step; returns (learning rate, gradient norm, whether any process was asked to stop)."""
        options, batch = self.options, self.options.batch_size
        self.adam.zero_grad(set_to_none=True)
        told = torch.tensor([0.0, self.stop], device=self.device)
        for index, ((first, last), drawn) in enumerate(zip(self.rows, draws)):
            if options.dropout or options.label_dropout:
                self.network.set_dropout_draw(DropoutDraw(unit_seed(options.seed, "dropout", step), batch, first, last))
            is_last = index == len(self.rows) - 1
            with nullcontext() if is_last or parallel.world_size() == 1 else self.module.no_sync():
                loss = self.module(*(value.to(self.device, non_blocking=True) for value in drawn)).sum()
                # Processes' gradients are averaged, rows are summed: so the whole batch's mean at any split.
                (loss * (parallel.world_size() / batch)).backward()
            told[0] += loss.detach()
        loss, stop = parallel.sum_across(told).tolist()
        parameters = [parameter for parameter in self.network.parameters() if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in parameters])
        self._check_finite(step, loss, float(norm))
        if options.grad_clip > 0:
            torch.nn.utils.clip_grads_with_norm_(parameters, options.grad_clip, norm)
        rate = learning_rate(step, options.lr, options.warmup, options.lr_decay, options.lr_floor, options.steps)
        for group in self.adam.param_groups:
            group["lr"] = rate
        self.adam.step()
        update_average(self.average, self.network,
                       ema_decay(step, batch, options.ema_halflife_kimg, options.ema_rampup_ratio))
        self.losses.append(loss / batch)
        return rate, float(norm), stop > 0

    def _check_finite(self, step, loss, norm):
        if not (math.isfinite(loss) and math.isfinite(norm)):
            kept = f"what was saved after step {self.saved:,} is kept" if self.saved else "nothing was saved"
            raise InputError(f"loss or gradient is no longer finite at step {step + 1:,}; {kept}", where=self.folder,
                             do="Train with a smaller --lr, with --grad_clip 1, or with --precision fp32")

    def _start_log(self):
        """Drop log lines of steps that are done again."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log_path, kept = self.folder / "log.jsonl", []
        for line in self.log_path.read_text(errors="replace").splitlines() if self.log_path.exists() else []:
            try:
                row = json.loads(line)
            except ValueError:  # the half line of a killed run
                continue
            if row["step"] <= self.done:
                kept.append(line)
        write_text(self.log_path, "".join(f"{line}\n" for line in kept))

    def _log(self, rate, norm):
        options = self.options
        if not parallel.is_main() or (self.done % options.log_every and self.done != options.steps):
            return
        seconds = time.monotonic() - self.began
        recent = list(self.losses)[-options.log_every :]
        row = {"step": self.done, "loss": float(np.mean(recent)), "lr": rate, "grad_norm": norm,
               "seconds": round(seconds, 3),
               "images_per_second": round((self.done - self.began_at) * options.batch_size / max(seconds, 1e-9), 2)}
        append_text(self.log_path, json.dumps(row) + "\n")

    def _keep(self):
        """Write what this step asks for. Pictures and snapshots come before the state: a kill between repeats them."""
        options = self.options
        if parallel.is_main():
            if options.sample_every and options.samples_per_class and self.done % options.sample_every == 0:
                draw_samples(self.folder / "samples" / f"step_{self.done:07d}.png", self.average, self.sampled, options)
            if options.snapshot_every and self.done % options.snapshot_every == 0:
                save_adm(self.folder / "snapshots" / f"network_{self.done:07d}.safetensors", self.average)
        if self.done % options.save_every == 0 or self.done == options.steps:
            self._save()

    def _save(self):
        """Save the state, and the network as it is now, unless that was done after this step."""
        if self.saved != self.done and parallel.is_main():
            save_state(self.state_path, self.network, self.average, self.adam, self.done, self.losses)
            save_adm(self.folder / "network.safetensors", self.average)
        self.saved = self.done
        parallel.barrier()

    def _conclude(self, seconds):
        """Write the network and its samples, and return the results."""
        results = {}
        if parallel.is_main():
            save_adm(self.folder / "network.safetensors", self.average)
            if self.options.samples_per_class:
                draw_samples(self.folder / "samples.png", self.average, self.sampled, self.options)
            rate = (self.done - self.began_at) * self.options.batch_size / max(seconds, 1e-9)
            classes = self.source.classes[self.source.classes >= 0]
            results = {"steps": self.done, "training_loss": float(np.mean(self.losses)), "ema_loss": self._ema_loss(),
                       "parameters": sum(parameter.numel() for parameter in self.network.parameters()),
                       "images": len(classes),
                       "classes": self.network.config.label_dim, "damaged": self.pixels.damaged,
                       "images_per_second": round(rate, 2), "network": str(self.folder / "network.safetensors")}
            console.show_table(str(self.folder),
                               ["steps", "training loss", "of the averaged weights", "parameters", "images/s"],
                               [[f"{self.done:,}", f"{results['training_loss']:.3f}", f"{results['ema_loss']:.3f}",
                                 f"{results['parameters']:,}", f"{rate:.3g}"]])
            if self.pixels.damaged:
                console.say(f"warning: {self.pixels.damaged:,} images cannot be read; others were drawn in their place")
            console.say(f"next: python -m tools.generate_dataset --model imagenet --checkpoint_path "
                        f"{results['network']} --method heun "
                        f"--num_steps {self.options.sample_steps} --sigma_max {self.options.sample_sigma_max:g} "
                        f"--sigma_min {self.options.sample_sigma_min:g}")
        parallel.barrier()
        return results

    @torch.no_grad()
    def _ema_loss(self):
        """Return the averaged network's mean loss on training images and noise that depend on the seed alone."""
        module, total, together = LossModule(self.average, self.layout), 0.0, 64
        for first in range(0, EVALUATED, together):
            drawn = self.batches.draw("evaluation", first, first + together)
            total += float(module(*(value.to(self.device) for value in drawn)).sum())
        return total / EVALUATED


def new_network(config, seed):
    """Return an EDMPrecond with initial weights by the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(unit_seed(seed, "weights"))
        return EDMPrecond(config)


def restore(network, path):
    """Put the weights of a network file into a network; InputError when its architecture is another."""
    file = read_adm(path)
    load_strictly(network, file.state, file.path,
                  do="Give the architecture of that file: --preset, --resolution, --label_dim ...")
