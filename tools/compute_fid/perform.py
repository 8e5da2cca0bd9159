"""What a command of compute_fid does with its work: a job in --output_dir, or results that are only printed."""

from common import console
from common.cli import Outcome


def perform(options, make_job, work, plan, device, show):
    """Return the Outcome of `work` (-> (results, files)), as the Job that make_job() returns where there is an output
    directory. plan: (line, results) of a dry run.  show: prints results; a Job shows its own."""
    if options.output_dir:
        return make_job().run(work, lambda: plan, device)
    if options.dry_run:
        console.say(plan[0])
        return Outcome(plan[1])
    results, _ = work()
    show(results)
    return Outcome(results)
