"""SimCLR's training in lockstep with Lightly's module in a plain loop: does any step differ?

    pip install -e '.[peers]'
    python benchmarks/lockstep.py benchmarks/against_lightly.yaml --seed 0

The trial runs as it does in a sweep. Before each of its steps, Lightly's module is given its weights and running statistics; then
both take the step on the same batch, each with a loss, gradients and an optimizer of its own. The trainings of
`against_lightly.py` differ in rounding too, which grows tenfold every few steps, so those can be compared by their ends alone.
"""

import argparse
from pathlib import Path
from unittest.mock import patch

import torch
from against_lightly import plan_of, run_ours, trials_of
from lightly_methods import new_method
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.methods.base import Batch, Progress, StepOutput
from ssl_sweep.methods.simclr import SimCLR
from ssl_sweep.orchestrator.spec.models import TrialSpec, data_root
from ssl_sweep.orchestrator.trial.learner import new_encoder
from torch import Tensor, nn

training_step, after_optimizer_step = SimCLR.training_step, SimCLR.after_optimizer_step


class Lockstep:
    """Lightly's SimCLR beside ours, and the largest differences over all steps."""

    def __init__(self, trial: TrialSpec):
        encoder = new_encoder(trial)
        self.plan = plan_of(trial)
        self.module = new_method("simclr", encoder, encoder.dim, self.plan).train()
        self.optimizer = self.plan.new_optimizer(list(self.module.parameters()))
        self.loss = torch.zeros(())
        self.left: list[Tensor] = []  # our state after the last step
        self.steps = self.changed = 0
        self.largest = dict.fromkeys(("loss", "gradient", "weights", "statistics"), 0.0)

    def before(self, ours: SimCLR, batch: Batch, progress: Progress) -> StepOutput:
        own = state(ours)
        self.changed += any(not torch.equal(*pair) for pair in zip(own, self.left, strict=False))
        with torch.no_grad():
            for to, value in zip(state(self.module), own, strict=True):
                to.copy_(value)
        self.loss = self.module([view.image for view in batch.global_views], 0)
        output = training_step(ours, batch, progress)
        self._note("loss", self.loss.detach(), output.loss.detach())
        return output

    def after(self, ours: SimCLR, progress: Progress) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.plan.rate(progress.step, progress.steps_per_epoch)
        self.optimizer.zero_grad()
        self.loss.backward()
        self.optimizer.step()
        for own, other in zip(ours.parameters(), self.module.parameters(), strict=True):
            self._note("gradient", own.grad, other.grad)
            self._note("weights", own.detach(), other.detach())
        for own, other in zip(statistics(ours), statistics(self.module), strict=True):
            self._note("statistics", own, other)
        after_optimizer_step(ours, progress)
        self.left = [tensor.clone() for tensor in state(ours)]
        self.steps += 1

    def _note(self, what: str, own: Tensor | None, other: Tensor | None) -> None:
        """The distance as a share of the length."""
        assert own is not None and other is not None
        share = float((own - other).norm() / other.norm().clamp(min=1e-12))
        self.largest[what] = max(self.largest[what], share)


def statistics(module: nn.Module) -> list[Tensor]:
    """The running means and variances."""
    return [tensor for name, tensor in module.named_buffers() if "running" in name]


def state(module: nn.Module) -> list[Tensor]:
    return [parameter.detach() for parameter in module.parameters()] + statistics(module)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path, help="a sweep file with simclr, as for against_lightly.py")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    trial = trials_of(arguments.sweep, ["simclr"])[0].model_copy(update={"seed": arguments.seed})
    torch.set_num_threads(1)
    pair = Lockstep(trial)
    with (
        patch.object(SimCLR, "training_step", lambda *given: pair.before(*given)),
        patch.object(SimCLR, "after_optimizer_step", lambda *given: pair.after(*given)),
    ):
        result = run_ours(trial, prepare(trial.dataset, data_root()), torch.device("cpu"))
    print(f"{pair.steps} steps, kNN {result.knn:.2f} %; state changed between two steps: {pair.changed} times")
    print("largest relative differences: " + ", ".join(f"{key} {value:.1e}" for key, value in pair.largest.items()))


if __name__ == "__main__":
    main()
