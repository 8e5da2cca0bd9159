"""The training loop: draws, steps, logs, files, and stopping without losing anything, in one process or several.

A tool provides a step, a function of the step number and its draws that calls `Loop.update` for each optimiser update
and returns the numbers to log; and functions that draw a batch, save the state and write pictures. A GAN updates two
optimisers per step, the second one twice where a gradient penalty is due.
"""

import gc
import signal
import time
from contextlib import contextmanager, nullcontext
from typing import NamedTuple

import torch

from common import console, parallel
from common.cli import check_interrupted
from common.device import peak_memory
from common.errors import InputError
from common.prefetch import Prefetcher
from common.training.plan import Skipped

WINDOW = 50  # steps over which the numbers beside the progress are smoothed
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class NotFinite(InputError):
    """A loss or a gradient with NaN or infinite values."""


class Part(NamedTuple):
    """Rows [first, last) of a step's batch, one forward pass, and the draws for them."""

    first: int
    last: int
    draws: tuple


class Update(NamedTuple):
    """The report of one update; sums: the loss's values summed over the batch of all processes, on the CPU."""

    sums: torch.Tensor
    rate: float
    norm: float


class Loop:
    """Runs the steps of a training.

    draw: function of (step, first, last) -> tuple of tensors for these rows, from seed, step and row alone.
    step: function of (step, parts) -> {name: number}.  shown: those that the progress shows, smoothed over WINDOW.
    save: function of the step that writes the state after it; only the main process calls it.
    optimisers: {name: optim.Optimiser}.  averages: ema.Averages that are updated after each step; the step itself
    updates any that must move earlier.
    modules: {name of an optimiser: module} whose forward computes its losses: DistributedDataParallel sums gradients as
    they are computed. Without a module they are summed in one go, which second derivatives need.
    log: log.Log.  products: keep.Periodics.
    evaluate: (every, function of the step -> {name: number}) that adds to the log, called in all processes; every: a
    number of steps, after the last of which it is called, too, or a function of the step.
    advice: what to do when losses or gradients are not finite.
    done: the last step that is done.  saved: the step whose state is on disk, or None.
    rows: function of (batch, accumulate) -> this process's rows, a pair for each part.
    skipped: the Skipped of an earlier run that this one resumes, part of the state.
    explain: function that says, in words, where a number that is not finite came from, or None.
    """

    def __init__(self, plan, draw, step, save, log, optimisers, averages=(), modules=None, products=(),
                 evaluate=(0, None), device="cpu", advice="Use a smaller learning rate", done=None, saved=None,
                 shown=("loss",), rows=parallel.own_rows, skipped=None, explain=None):
        self.plan, self.draw, self.step, self.save, self.log = plan, draw, step, save, log
        self.optimisers, self.averages, self.modules = optimisers, averages, modules or {}
        self.products, self.evaluate, self.device, self.advice = products, evaluate, torch.device(device), advice
        self.done, self.saved = plan.first - 1 if done is None else done, saved
        self.rows, self.skipped, self.undo = rows(plan.batch, plan.accumulate), skipped or Skipped(), {}
        self.explain = explain or (lambda: None)
        self.stop, self.last_row, self.images_per_second = False, None, 0.0
        self.whole = True  # the weights are those after a complete, logged step
        self.producing, self.smooth = False, dict.fromkeys(shown)

    def run(self):
        """Run the remaining steps; raises KeyboardInterrupt when a signal asked for a stop.

        An InputError between steps, such as an unreadable image, is raised after the state of the last step is saved.
        """
        console.outlive_terminal()
        with self._signals(), self._distributed(), self._logged():
            self.began, self.done_before = time.monotonic(), self.done
            try:
                self._run_steps()
            except NotFinite:
                raise
            except InputError:
                if self.whole:
                    self._save()
                if self.saved is None and parallel.is_main():
                    self.log.discard()
                raise
            self._save()  # a run that started from a checkpoint of its last step has no state yet
            parallel.barrier()
            self._measure_speed()

    def _run_steps(self):
        plan, done = self.plan, self.done
        self._produce(pending=True)
        with console.progress("training", plan.last - plan.first + 1, done - plan.first + 1, "step") as advance, \
                Prefetcher(self._draw, range(done + 1, plan.last + 1), plan.num_workers) as draws:
            for step in range(done + 1, plan.last + 1):
                parts = self._next(draws)
                values = self._attempt(step, parts)
                self.done = step
                self._report(step, values)
                self.whole = True
                if step == plan.last or any(map(self._due, plan.save_every)):
                    self._save()
                    parallel.barrier()
                self._produce()
                advance(1, self._smoothed(values, step - done))

    def _attempt(self, step, parts):
        """Do a step and return its numbers; one that is not finite is undone, counted and has none."""
        try:
            values = self.step(step, parts)
        except NotFinite as error:
            if self.plan.patience is None:
                raise
            for name, before in self.undo.items():
                self.optimisers[name].restore(before)
            self.undo, self.whole = {}, True
            if self.skipped.in_a_row >= self.plan.patience:
                self._save()
                parallel.barrier()
                raise self._not_finite(error) from error
            self.skipped.total, self.skipped.in_a_row = self.skipped.total + 1, self.skipped.in_a_row + 1
            console.say(f"warning: step {step:,} is skipped: {error.what} ({self.skipped.total:,} so far)")
            return {"skipped_steps": self.skipped.total}
        self.undo, self.skipped.in_a_row = {}, 0
        for average in self.averages:
            average.update()
        return values if self.plan.patience is None else {**values, "skipped_steps": self.skipped.total}

    def _not_finite(self, error):
        """Return the error that ends the run."""
        saved = "nothing was saved" if self.saved is None else f"the state after step {self.saved:,} is saved"
        again = f", as in {self.skipped.in_a_row:,} steps before it" if self.skipped.in_a_row else ""
        return NotFinite(f"{error.what} at step {self.done + 1:,}{again}; {saved}", where=self.log.folder,
                         do=self.advice)

    def _smoothed(self, values, count):
        """Return the shown numbers as text: means over the `count` steps so far, later over about WINDOW of them."""
        for name in self.smooth.keys() & values.keys():
            before = values[name] if self.smooth[name] is None else self.smooth[name]
            self.smooth[name] = before + (values[name] - before) / min(count, WINDOW)
        return ", ".join(f"{name} {value:.4g}" for name, value in self.smooth.items() if value is not None)

    def update(self, name, parts, *losses, undo=False):
        """Update the parameters of an optimiser once, and return the Update.

        losses: functions of a part -> (objective, values): the objective summed over the part's rows, and scalars to
        report, summed likewise. The gradient is that of the mean of their sum over the whole batch; each is computed
        by itself, so that no two of their graphs are in memory together.
        undo: the weights and moments before the update stay in `self.undo` until the step is done.
        Raises NotFinite, before anything is changed, when a value or the gradient is not finite.
        """
        optimiser, sums = self.optimisers[name], None
        optimiser.optimiser.zero_grad(set_to_none=True)
        # DistributedDataParallel averages over the processes; times world_size it sums.
        scale = (parallel.world_size() if name in self.modules else 1) / self.plan.batch
        for index, part in enumerate(parts):
            row = []
            for place, loss in enumerate(losses):
                last = index == len(parts) - 1 and place == len(losses) - 1
                with nullcontext() if last else self._no_sync(name):
                    objective, values = loss(part)
                    (objective * scale).backward()
                row += [value.detach() for value in values]
            values = torch.stack(row)
            values = values.to(torch.promote_types(values.dtype, torch.float32))
            sums = values if sums is None else sums + values
        if name not in self.modules and parallel.world_size() > 1:
            _sum_gradients(optimiser.parameters())
        norm = optimiser.norm()
        numbers = torch.cat([parallel.sum_across(sums), norm.reshape(1).to(sums.dtype)]).cpu()
        if not bool(numbers.isfinite().all()):
            cause = self.explain()
            error = NotFinite("the loss or the gradient is no longer finite" + (f" ({cause})" if cause else ""),
                              where=self.log.folder, do=self.advice)
            raise self._not_finite(error) if self.plan.patience is None else error
        self.whole = False
        if undo:
            self.undo[name] = optimiser.remember()
        return Update(numbers[:-1], optimiser.step(norm), float(numbers[-1]))

    def _draw(self, step):
        return [self.draw(step, first, last) for first, last in self.rows]

    def _next(self, draws):
        """Return the Parts of the next step; all processes stop here when one was asked to or cannot draw."""
        error = parts = None
        try:
            parts = [Part(*rows, tuple(value.to(self.device, non_blocking=True) for value in values))
                     for rows, values in zip(self.rows, next(draws))]
        except InputError as failure:
            error = failure
        stop, errors = self.stop, [error]
        if parallel.world_size() > 1:
            flags = parallel.sum_across(torch.tensor([float(stop), float(error is not None)], device=self.device))
            stop, failed = flags.tolist()
            errors = parallel.gather_objects(error) if failed else []
        error = next((failure for failure in errors if failure is not None), None)
        if stop or error:
            self._save()
            parallel.barrier()
            raise error or KeyboardInterrupt
        return parts

    def _report(self, step, values):
        """Log a step that is due, with the numbers of an evaluation."""
        plan, (every, evaluate) = self.plan, self.evaluate
        due = step == plan.last or step % plan.log_every == 0
        if self._due(every) or (step == plan.last and every and not callable(every)):
            due, values = True, {**values, **evaluate(step)}
        if not due or not parallel.is_main():
            return
        self._measure_speed()
        self.last_row = {"step": step, **values, "seconds": round(self.seconds, 3)}
        if plan.log_speed:
            self.last_row["images_per_second"] = self.images_per_second
        if plan.log_memory:
            self.last_row["peak_memory_gb"] = round(peak_memory(self.device) / 1e9, 3)
        self.log.write(self.last_row)

    def _measure_speed(self):
        self.seconds = time.monotonic() - self.began
        self.images_per_second = round((self.done - self.done_before) * self.plan.batch / max(self.seconds, 1e-9), 2)

    def _due(self, every):
        if callable(every):
            return self.done and every(self.done)
        return every and self.done and self.done % every == 0

    def _save(self):
        """Save the state, unless no step is done yet or it is on disk already."""
        if self.done >= self.plan.first and self.saved != self.done and parallel.is_main():
            self.save(self.done)
        self.saved = self.done if self.done >= self.plan.first else None

    def _produce(self, pending=False):
        """Write the products that are due; pending: only those that an earlier run did not get to."""
        due = [product for product in self.products if self.done >= self.plan.first and product.due(self.done)]
        self.producing = True
        for product in due if parallel.is_main() else ():
            if not pending or not product.done(self.done):
                product.make(self.done)
        self.producing = False
        if due:
            parallel.barrier()

    @contextmanager
    def _signals(self):
        """Make SIGINT, SIGTERM and SIGHUP stop after the step; an ignored one (nohup) stays ignored.

        A file that is being written after the state has been saved is left at once, and so is everything at a second
        SIGINT. Several processes stop together, after the step.
        """
        def ask(signum, frame):
            again, self.stop = self.stop and signum == signal.SIGINT, True
            safe = self.producing and (self.done == self.saved or self.done == self.done_before)
            if (again or safe) and parallel.world_size() == 1:
                raise KeyboardInterrupt
            if not again and parallel.is_main():
                console.say_at_once(f"stopping after step {self.done + 1:,}, with the state saved; "
                                    "a second Ctrl-C stops at once, and what came after the last saved state is lost")

        before = {name: signal.signal(name, ask) for name in SIGNALS if signal.getsignal(name) != signal.SIG_IGN}
        try:
            check_interrupted()  # an import on the way here may have swallowed an interruption
            yield
        finally:
            for name, handler in before.items():
                signal.signal(name, handler)

    @contextmanager
    def _distributed(self):
        """Wrap the modules in DistributedDataParallel for several processes, and release it at the end.

        As the last owner of the process group its destructor would wait for the communication threads while holding
        the GIL, which these need to free their tensors: a deadlock.
        """
        plain = self.modules
        if parallel.world_size() > 1:
            ids = [self.device.index] if self.device.type == "cuda" else None
            self.modules = {name: torch.nn.parallel.DistributedDataParallel(module, ids, forward_sync_buffers=False)
                            for name, module in plain.items()}
        try:
            yield
        finally:
            self.modules = plain
            if parallel.world_size() > 1:
                gc.collect()

    def _no_sync(self, name):
        """Return the context in which an optimiser's gradients are not yet summed over the processes."""
        wrapped = parallel.world_size() > 1 and name in self.modules
        return self.modules[name].no_sync() if wrapped else nullcontext()

    @contextmanager
    def _logged(self):
        if parallel.is_main():
            self.last_row = self.log.start(self.done)
        try:
            yield
        finally:
            self.log.close()


def _sum_gradients(parameters):
    """Sum the gradients over all processes in one all-reduce (as StyleGAN2-ADA does)."""
    gradients = [parameter.grad for parameter in parameters]
    flat = parallel.sum_across(torch.cat([gradient.reshape(-1) for gradient in gradients]))
    for gradient, own in zip(gradients, flat.split([gradient.numel() for gradient in gradients])):
        gradient.copy_(own.view_as(gradient))
