"""Running golden cases: one result per case, whatever its check does."""

from dataclasses import dataclass

from tests.golden.compare import judge, worst_of


@dataclass
class Result:
    """How one case went: `worst` is the largest error over tolerance, at most 1 when the case passed."""

    check: str
    case: str
    worst: float
    where: str

    @property
    def passed(self):
        """True when every compared number is within its tolerance (NaN is not)."""
        return self.worst <= 1

    def line(self):
        """Return the case's line for the screen."""
        verdict = "pass" if self.passed else f"FAIL ({self.where})"
        return f"{self.check}  {self.case}  {self.worst:.3g}  {verdict}"


def run_case(case, function):
    """Run a check on a case. An exception in the check is a failed case (worst is NaN) that tells the exception."""
    try:
        where, worst = worst_of(judge(function(case), case.arrays, case.spec.get("tolerance")))
    except Exception as error:
        where, worst = f"{type(error).__name__}: {error}", float("nan")
    return Result(case.check, case.folder.resolve().name, worst, " ".join(where.split()))
