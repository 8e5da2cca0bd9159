"""Two signs of a training that goes wrong though every number is finite."""

from common import console

NEVER_WRONG = 500  # steps in a row
CLOSE = 0.1  # of the distance between real images


class Watch:
    """Warns of a discriminator that is never wrong, and of pictures that are all alike.

    right: steps in a row in which the discriminator was right on every row; part of the state.
    """

    def __init__(self):
        self.right = 0

    def judge(self, step, values):
        """Look at the numbers of a step (see GanStep.numbers)."""
        self.right = self.right + 1 if values["train/acc_real"] == values["train/acc_fake"] == 100 else 0
        if self.right and self.right % NEVER_WRONG == 0:
            console.say(f"warning: step {step:,}: the discriminator has not been wrong for {self.right:,} steps; the "
                        "generator learns little from it: try a larger --lambda_D_R1 or more images")

    @staticmethod
    def compare(step, generated, real):
        """Look at the mean distance between pictures of different noise, and between real images."""
        if generated < CLOSE * real:
            console.say(f"warning: step {step:,}: pictures of different noise are all alike: their mean distance is "
                        f"{generated / real:.3f} of that of real images")
