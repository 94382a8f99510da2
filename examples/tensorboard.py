"""Watch a search in TensorBoard while it runs: the curves of all trials, and what each came to.

python examples/tensorboard.py --data photos/
tensorboard --logdir boards

It needs tensorboardX, which Ray Tune brings along. For MLflow or W&B the same three methods do.
"""

import argparse
from pathlib import Path

from tensorboardX import SummaryWriter

import autoft
from autoft.record import Evaluation, TrialRecord
from autoft.tuner.observer import Silent


class TensorBoard(Silent):
    """Told of every evaluation, in the process that conducts the search."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.writers = folder, dict[int, SummaryWriter]()

    def trial_started(self, trial: TrialRecord) -> None:
        """A trial starts, or goes on after a pause: its curve goes on too."""
        if trial.number not in self.writers:
            self.writers[trial.number] = SummaryWriter(str(self.folder / f"{trial.number:04d}"))

    def evaluated(self, trial: TrialRecord, evaluation: Evaluation, best: float | None) -> None:
        """All metrics and losses over the number of the evaluation; and the best value of the search."""
        losses = {"train_loss": evaluation.train_loss, "val_loss": evaluation.val_loss}
        for name, value in {**evaluation.metrics, **losses, "best": best}.items():
            if value is not None:
                self.writers[trial.number].add_scalar(name, value, evaluation.index)

    def trial_ended(self, trial: TrialRecord) -> None:
        """What was tried, and how it ended."""
        writer = self.writers.get(trial.number)
        if writer is not None:
            writer.add_text("recipe", f"{trial.proposal.origin}: {trial.proposal.params}")
            writer.add_text("ended", f"{trial.state}: {trial.reason_text}")
            writer.flush()


def main() -> None:
    """Search, with a board."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help="or a folder with one folder per class")
    parser.add_argument("--num-samples", type=int, default=8)
    parser.add_argument("--time-budget-s", type=float, default=180.0)
    parser.add_argument("--image-size", type=int, default=48)
    options = parser.parse_args()

    result = autoft.search(
        model="tf_efficientnet_lite0",
        data=options.data,
        num_samples=options.num_samples,
        time_budget_s=options.time_budget_s,
        name="tensorboard",
        observer=TensorBoard(Path("boards")),
        overrides={"data.image_size": options.image_size},
    )
    print(f"trial {result.summary['winner']} won; look at it with: tensorboard --logdir boards")


if __name__ == "__main__":
    main()
