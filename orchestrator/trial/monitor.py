"""What is measured between the epochs of pretraining: quick evaluations, and whether the features collapse."""

from ...datasets.image_set import ImageSet
from ...evaluation.base import EvaluationConfig
from ...evaluation.diagnostics import diagnose
from ...evaluation.registry import EVALUATIONS, MONITOR
from ...evaluation.task import Extracted, NotFinite, Task
from ...methods.encoder import Encoder
from ..spec.evaluations import looks_every, monitoring
from ..spec.models import TrialSpec
from ..store.fault import Fault
from ..store.files import Store
from .images import labelled_part
from .journal import TrialFailed
from .runtime import Runtime


class Monitor:
    """Measures a backbone as it is now; every rank calls it and gets the same numbers."""

    def __init__(self, trial: TrialSpec, train: ImageSet, test: ImageSet, runtime: Runtime, store: Store):
        self.trial, self.train, self.test, self.runtime, self.store = trial, train, test, runtime, store
        self.evaluations = monitoring(trial)
        if all(item.name != MONITOR for item in self.evaluations):
            monitor = EVALUATIONS[MONITOR]
            usual = monitor.protocol(monitor.default_protocol(trial.backbone.name, trial.dataset.name))
            self.evaluations.append(monitor.fitting(usual, len(train)))

    def look(self, encoder: Encoder, epoch: int) -> dict[str, float]:
        """Evaluations as ``knn/top1``, ``features/rank`` and ``features/std``; what is not due in this `epoch` is left out.

        A second evaluation of a kind goes by the sweep's name for it.

        Raises:
            TrialFailed: the features are not finite.
        """
        config = self.trial.pretrain
        due = [item for item in self.evaluations if self._due(looks_every(self.trial, item), epoch)]
        diagnosis = self._due(config.diagnose_every, epoch)
        if not due and not diagnosis:
            return {}
        try:
            return self._look(encoder, due, diagnosis=diagnosis)
        except NotFinite as error:
            raise TrialFailed(f"after epoch {epoch}: {error}", Fault.DIVERGED) from error

    def _look(self, encoder: Encoder, due: list[EvaluationConfig], *, diagnosis: bool) -> dict[str, float]:
        training = encoder.training
        task = self._task(encoder)
        logs: dict[str, float] = {}
        taken = {item.known_as for item in self.evaluations}
        for item in due:
            part = labelled_part(task.train, item, self.store)
            metrics = EVALUATIONS[item.name].run(task._replace(train=part), item).metrics
            key = (
                item.known_as
                if item.name in taken or any(log.startswith(f"{item.name}/") for log in logs)
                else item.name
            )
            logs |= {f"{key}/{name}": value for name, value in metrics.items()}
        if diagnosis:
            found = diagnose(task)
            logs |= {"features/rank": found.rank, "features/std": found.std}
        encoder.train(training)
        return logs

    def refuse_collapsed(self, logs: dict[str, float], epoch: int) -> None:
        """Raise TrialFailed where the `logs` of a look tell of a collapse that the trial shall not survive."""
        limits = self.trial.pretrain.stop_collapsed
        if limits is None or "features/rank" not in logs or epoch < limits.grace_epochs:
            return
        rank, std = logs["features/rank"], logs["features/std"]
        if not (rank >= limits.min_rank and std >= limits.min_std):  # also where they are not numbers
            raise TrialFailed(
                f"the features collapsed in epoch {epoch}: rank {rank:.3g} (at least {limits.min_rank:g}),"
                f" standard deviation {std:.3g} (at least {limits.min_std:g})",
                Fault.DIVERGED,
            )

    def _due(self, every: int, epoch: int) -> bool:
        return bool(every) and (epoch % every == 0 or epoch == self.trial.pretrain.epochs)

    def _task(self, encoder: Encoder) -> Task:
        return Task(
            encoder,
            self.trial.backbone,
            self.train,
            self.test,
            self.trial.image_size,
            bf16=self.trial.pretrain.precision == "bf16",
            rank=self.runtime.rank,
            world_size=self.runtime.world_size,
            is_alive=self.runtime.pulse.beat,
            extracted=Extracted() if len(self.evaluations) > 1 else None,  # of this look: they all see these weights
        )
