"""One training in one folder: what it starts from, its step, its files and its results."""

import math
from collections import deque
from pathlib import Path

import torch

from common import console, parallel
from common.device import autocast
from common.errors import InputError
from common.networks.decision import load_imagenet, open_decision_model, write_decision_model
from common.networks.decision_networks import DecisionConfig, build_decision_model
from common.nn.batch_norm import share_statistics
from common.nn.dropout import DropoutDraw
from common.seeding import unit_seed
from common.training import eager
from common.training.log import Log
from common.training.loop import Loop
from common.training.optim import Optimiser
from common.training.plan import Plan
from common.training.state import TrainingState, interned, on_cpu
from tools.train_decision_model.augment import Augmentation
from tools.train_decision_model.held_out import HeldOut
from tools.train_decision_model.losses import Losses
from tools.train_decision_model.presets import RANDOM
from tools.train_decision_model.report import conclude, draw_inputs, say
from tools.train_decision_model.rows import Batches

RECENT = 50  # steps whose mean loss is the result
ADVICE = "Use a smaller --lr, or --precision fp32"
RISE, START, END = 0.3, 1 / 25, 1 / 250_000  # of the cycle: share of the steps, first and last rate, as in torch


class OneCycle:
    """The learning rate of update n = 0, 1, ...: half a cosine up to lr, another one down (Smith 2018)."""

    def __init__(self, lr, steps):
        self.lr, self.top, self.last = lr, max(RISE * steps - 1, 1e-9), steps - 1

    def __call__(self, n):
        """Return the learning rate of update n."""
        first, last, place = (START, 1, n / self.top) if n <= self.top else (
            1, END, (n - self.top) / max(self.last - self.top, 1e-9))
        return self.lr * (last + (first - last) * 0.5 * (1 + math.cos(math.pi * min(place, 1.0))))


class DecisionTraining:
    """One run in one folder. Making one checks what it starts from; `loop` does the work.

    source: sources.Source.  images: the PreparedImages of its train and val.  rule: their SquashOrCrop.
    overwrite: ignore the folder's earlier state.  done: steps completed.
    """

    def __init__(self, options, source, images, rule, device, overwrite=False):
        self.options, self.source, self.device, self.folder = options, source, device, Path(options.output_dir)
        (self.train, self.val), self.rule = images, rule
        config = DecisionConfig(options.arch, tuple(source.names), rule.size, source.kind, options.width,
                                source.reasons)
        self.network = new_network(config, options).to(device, memory_format=torch.channels_last)
        share_statistics(self.network)
        self.optimiser = make_optimiser(self.network, options, device)
        self.state = TrainingState({"decision": self.network}, {"decision": self.optimiser}, {})
        self.losses = Losses(source, options.pos_weight, device)
        self.augmentation = Augmentation(*(getattr(options, name) for name in (
            "blur", "gain", "shift", "smooth_noise", "white_noise", "flip")))
        self.batches = Batches(self.train, source.train.targets, options.seed, options.batch_size, self.augmentation)
        self.held_out = HeldOut(self.val, source.val.targets, options, device)
        self.log = Log(self.folder, options.tensorboard, options.wandb)
        self.done, self.recent, self.step = 0, deque(maxlen=RECENT), 0
        self.best = {"step": 0, "loss": math.inf}  # of the held-out images
        self.measured = 0  # the last step after which they were measured
        if not overwrite and self.state_path.exists():
            self._resume()

    @property
    def state_path(self):
        """The file that a killed run resumes from."""
        return self.folder / "state.pth"

    @property
    def checkpoint(self):
        """The model of the least held-out loss."""
        return self.folder / "checkpoint.tar"

    def _resume(self):
        do = "Use the flags of that training, another --output_dir, or --overwrite to start over"
        self.done, extra = self.state.load(self.state_path, do)
        if self.done > self.options.steps:
            raise InputError(f"this run is already at step {self.done:,}", where=f"--steps {self.options.steps}",
                             do="Use a larger number, another --output_dir, or --overwrite to start over")
        try:
            self.best = {"step": int(extra["best step"]), "loss": float(extra["best loss"])}
            self.recent.extend(map(float, extra["recent"]))
            self.measured = int(extra["measured"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError("its record of the held-out loss is damaged", where=self.state_path, do=do) from error
        if self.best["step"] and not self.checkpoint.exists():
            raise InputError("it is gone, and was the best so far", where=self.checkpoint,
                             do="Put it back, or pass --overwrite to start over")
        console.say(f"resuming from {self.state_path} (step {self.done:,})")

    def loop(self):
        """Run the remaining steps and return the results."""
        options = self.options
        plan = Plan(1, options.steps, options.batch_size, options.log_every, (options.save_interval,),
                    options.accumulate, options.num_workers)
        self.trainer = Loop(plan, self.batches.draw, self._step, self._save, self.log, {"decision": self.optimiser},
                            evaluate=(options.val_interval, self._evaluate), device=self.device, advice=ADVICE,
                            done=self.done, saved=self.done or None)
        self.network.train()
        self.trainer.run()
        if self.measured != options.steps:
            self._evaluate(options.steps)
            if parallel.is_main():
                self._save(options.steps)
        parallel.barrier()
        best = open_decision_model(self.checkpoint, self.device)  # no process writes it before all have read it
        answers = self.held_out(best)
        results = {}
        if parallel.is_main():
            draw_inputs(self.folder / "inputs.png", self.batches, self.prepared, self.device)
            results = conclude(self, best, *answers)
            say(self, results)
        parallel.barrier()
        return results

    def _step(self, step, parts):
        """One optimiser step; returns the means of its losses, learning rate and gradient norm."""
        self.step = step
        sums, rate, norm = self.trainer.update("decision", parts, self._loss)
        loss = float(sums[0]) / self.options.batch_size
        self.recent.append(loss)
        return {"loss": loss, "lr": rate, "grad_norm": norm}

    def _loss(self, part):
        _, targets, *_ = part.draws
        with torch.no_grad():
            x = self.prepared(part.draws)
        if self.source.reasons:
            for dropout in (self.network.dropout1, self.network.dropout2):
                dropout.draw = DropoutDraw(unit_seed(self.options.seed, "dropout", self.step), self.options.batch_size,
                                           part.first, part.last)
        with autocast(self.device, self.options.precision):
            logits = torch.cat(self.network.both(x), dim=1) if self.source.reasons else self.network.logits(x)
        loss = self.losses(logits.float(), targets).sum()
        return loss, [loss]

    def prepared(self, draws):
        """Return the augmented pictures (n, 3, H, W) of a batch's draws."""
        pixels, _, *augmenting = draws
        x = pixels.permute(0, 3, 1, 2).float() / 127.5 - 1
        return self.augmentation(x, *augmenting)

    def _evaluate(self, step):
        """Return {held_out_loss}; where it is the least so far, the model is written."""
        logits, truth, _ = self.held_out(self.network)
        loss = float(self.losses(torch.from_numpy(logits), torch.from_numpy(truth).float(), on_cpu=True).mean())
        if not math.isfinite(loss):
            raise InputError(f"the held-out loss is no longer finite at step {step:,}", where=self.folder, do=ADVICE)
        self.measured = step
        if loss < self.best["loss"]:
            self.best = {"step": step, "loss": loss}
            if parallel.is_main():
                self.write(self.network)
        return {"held_out_loss": loss}

    def write(self, network):
        """Write a model as the published dictionary."""
        optimiser = interned(on_cpu(self.optimiser.optimiser.state_dict()))
        epoch = math.ceil(self.best["step"] * self.options.batch_size / len(self.train))
        write_decision_model(self.checkpoint, network, epoch, self.best["loss"], optimiser, self.rule)

    def _save(self, step):
        self.state.save(self.state_path, step, {"best step": self.best["step"], "best loss": self.best["loss"],
                                                "measured": self.measured, "recent": list(self.recent)})


def new_network(config, options):
    """Return the network with weights from the seed, its body's from ImageNet where a file is given."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(unit_seed(options.seed, "weights"))
        network = build_decision_model(config)
    if options.imagenet_weights not in (None, RANDOM):
        load_imagenet(network, options.imagenet_weights)
    return network


def make_optimiser(network, options, device):
    """Return Adam (AdamW with a weight decay) with the schedule that the flags ask for."""
    inner = eager.AdamW(network.parameters(), lr=options.lr, weight_decay=options.weight_decay,
                        fused=device.type in ("cpu", "cuda"))
    rate = OneCycle(options.lr, options.steps) if options.lr_schedule == "onecycle" else lambda n: options.lr
    return Optimiser(inner, rate)
