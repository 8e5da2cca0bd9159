"""One training in one folder: what it starts from, its step, its files and its results."""

import copy
from collections import deque
from pathlib import Path

import numpy as np
import torch

from common import console, parallel
from common.errors import InputError
from common.formats.checkpoints import load_strictly
from common.networks.adm import EDMPrecond
from common.networks.adm_weights import read_adm, save_adm
from common.nn.dropout import DropoutDraw
from common.seeding import unit_seed
from common.training import eager
from common.training.ema import Average, half_life
from common.training.keep import Periodic
from common.training.log import Log
from common.training.loop import Loop
from common.training.optim import Optimiser, Schedule
from common.training.plan import Plan
from tools.train_edm.batches import EdmBatches, open_cache
from tools.train_edm.pictures import draw_samples, row_classes
from tools.train_edm.state import load_state, save_state
from tools.train_edm.step import EdmLoss

RECENT = 50  # steps whose mean loss is the result
EVALUATED = 256  # images for the loss of the averaged network
ADVICE = "Use a smaller --lr, --grad_clip 1, or --precision fp32"


class EdmTraining:
    """One run in one folder. Making one reads and checks everything it starts from; `loop` does the work.

    overwrite: ignore the folder's earlier state.  done: steps completed.
    """

    def __init__(self, options, config, source, device, overwrite=False):
        self.options, self.source, self.device, self.folder = options, source, device, Path(options.output_dir)
        # channels-last, on one x86 thread: a step of small32 is 1.09 times faster in fp32, 1.2 times slower in bf16
        channels_last = device.type == "cpu" and options.precision != "bf16"
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.network = new_network(config, options.seed).to(device, memory_format=self.layout).train()
        if options.restore:
            restore(self.network, options.restore)
        self.averaged = copy.deepcopy(self.network).eval().requires_grad_(False)
        decay = half_life(options.batch_size, options.ema_halflife_kimg, options.ema_rampup_ratio)
        self.average = Average(self.network.parameters(), decay, self.averaged.parameters())
        self.optimiser = make_optimiser(self.network, options, device)
        self.images = open_cache(source, options.resolution, options.memory_gb)
        self.batches = EdmBatches(self.images, source.title, source.classes, options.seed, options.batch_size,
                               options.class_balanced, options.xflip, options.p_mean, options.p_std)
        self.sampled = row_classes(source.classes, config.label_dim)
        self.log = Log(self.folder, options.tensorboard, options.wandb)
        self.done, self.losses = 0, deque(maxlen=RECENT)
        if not overwrite and self.state_path.exists():
            self._resume()
        if options.precision == "bf16":
            self.network.body_dtype = torch.bfloat16

    @property
    def state_path(self):
        """The file that a killed run resumes from."""
        return self.folder / "checkpoint.pth"

    def _resume(self):
        self.done, losses = load_state(self.state_path, self.network, self.averaged, self.optimiser)
        self.average.count = self.done
        if self.done > self.options.steps:
            raise InputError(f"this run is already at step {self.done:,}", where=f"--steps {self.options.steps}",
                             do="Use a larger number, another --output_dir, or --overwrite to start over")
        self.losses.extend(losses)
        console.say(f"resuming from {self.state_path} (step {self.done:,})")

    def loop(self):
        """Run the remaining steps and return the results."""
        options = self.options
        self.source.prepare(np.flatnonzero(self.source.classes >= 0))
        if options.compile:
            self.network.model.compile()
        plan = Plan(1, options.steps, options.batch_size, options.log_every, (options.save_every,), options.accumulate,
                    options.num_workers)
        # The batches count steps from 0.
        self.trainer = Loop(plan, lambda step, first, last: self.batches.draw(step - 1, first, last), self._step,
                            self._save, self.log, {"network": self.optimiser}, [self.average],
                            {"network": EdmLoss(self.network, self.layout)}, self._products(), device=self.device,
                            advice=ADVICE, done=self.done, saved=self.done or None)
        self.trainer.run()
        return self._conclude()

    def _products(self):
        """Return the periodic outputs: sample grids and network snapshots."""
        options = self.options
        return [Periodic(options.sample_every if options.samples_per_class else 0,
                         lambda step: self.folder / "samples" / f"step_{step:07d}.png",
                         lambda path, step: draw_samples(path, self.averaged, self.sampled, options)),
                Periodic(options.snapshot_every,
                         lambda step: self.folder / "snapshots" / f"network_{step:07d}.safetensors",
                         lambda path, step: save_adm(path, self.averaged))]

    def _step(self, step, parts):
        """One optimiser step; returns the mean loss since the last line of the log, learning rate and gradient norm."""
        options = self.options

        def loss(part):
            if options.dropout or options.label_dropout:
                self.network.set_dropout_draw(DropoutDraw(unit_seed(options.seed, "dropout", step - 1),
                                                          options.batch_size, part.first, part.last))
            total = self.trainer.modules["network"](*part.draws).sum()
            return total, (total,)

        sums, rate, norm = self.trainer.update("network", parts, loss)
        self.losses.append(sums.item() / options.batch_size)
        return {"loss": float(np.mean(list(self.losses)[-options.log_every :])), "lr": rate, "grad_norm": norm}

    def _save(self, step):
        """Save the training state and the current averaged network."""
        save_state(self.state_path, self.network, self.averaged, self.optimiser, step, self.losses)
        save_adm(self.folder / "network.safetensors", self.averaged)

    def _conclude(self):
        """Write the network and its samples, and return the results."""
        results = {}
        if parallel.is_main():
            save_adm(self.folder / "network.safetensors", self.averaged)
            if self.options.samples_per_class:
                draw_samples(self.folder / "samples.png", self.averaged, self.sampled, self.options)
            classes = self.source.classes[self.source.classes >= 0]
            results = {"steps": self.options.steps, "training_loss": float(np.mean(self.losses)),
                       "ema_loss": self._ema_loss(),
                       "parameters": sum(parameter.numel() for parameter in self.network.parameters()),
                       "images": len(classes), "classes": self.network.config.label_dim,
                       "damaged": self.images.damaged, "images_per_second": self.trainer.images_per_second,
                       "network": str(self.folder / "network.safetensors")}
            self._say(results)
        parallel.barrier()
        return results

    def _say(self, results):
        console.show_table(str(self.folder),
                           ["steps", "training loss", "EMA loss", "parameters", "images/s"],
                           [[f"{results['steps']:,}", f"{results['training_loss']:.3f}", f"{results['ema_loss']:.3f}",
                             f"{results['parameters']:,}", f"{results['images_per_second']:.3g}"]])
        if results["damaged"]:
            console.say(f"warning: {results['damaged']:,} unreadable images were replaced by other draws")
        console.say(f"next: python -m tools.generate_dataset --model imagenet --checkpoint_path {results['network']} "
                    f"--method heun --num_steps {self.options.sample_steps} "
                    f"--sigma_max {self.options.sample_sigma_max:g} --sigma_min {self.options.sample_sigma_min:g}")

    @torch.no_grad()
    def _ema_loss(self):
        """Return the averaged network's mean loss on training images and noise that depend on the seed alone."""
        module, total, batch = EdmLoss(self.averaged, self.layout), 0.0, 64
        for first in range(0, EVALUATED, batch):
            drawn = self.batches.draw("evaluation", first, first + batch)
            total += float(module(*(value.to(self.device) for value in drawn)).sum())
        return total / EVALUATED


def make_optimiser(network, options, device):
    """Return Adam with the schedule and clipping that the flags ask for."""
    adam = eager.Adam(network.parameters(), lr=options.lr, betas=(0.9, options.beta2), eps=options.adam_eps,
                      fused=device.type in ("cpu", "cuda"))
    cosine = max(options.steps - 1, 1) if options.lr_decay == "cosine" else 0
    return Optimiser(adam, Schedule(options.lr, options.warmup, cosine=cosine, floor=options.lr_floor),
                     options.grad_clip or None)


def new_network(config, seed):
    """Return an EDMPrecond initialised from the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(unit_seed(seed, "weights"))
        return EDMPrecond(config)


def restore(network, path):
    """Load the weights of a network file; InputError when its architecture differs."""
    file = read_adm(path)
    if file.config.precond != "edm":
        raise InputError("the network predicts noise at discrete levels, as iDDPM and guided-diffusion; training is "
                         "under EDM's preconditioning", where=file.path, do="Give an EDM or DMD2 network")
    load_strictly(network, file.state, file.path,
                  do="Match that file's architecture: --preset, --resolution, --label_dim ...")
