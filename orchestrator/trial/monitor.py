"""What is looked at between the epochs of pretraining: kNN, and whether the features collapse."""

from ...datasets.image_set import ImageSet
from ...evaluation.config import KnnConfig
from ...evaluation.diagnostics import diagnose
from ...evaluation.knn import evaluate_knn
from ...evaluation.task import Task
from ...methods.encoder import Encoder
from ..spec.models import TrialSpec
from .journal import TrialFailed
from .runtime import Runtime


class Monitor:
    """Looks at a backbone as it stands; every rank calls it, and sees the same."""

    def __init__(self, trial: TrialSpec, train: ImageSet, test: ImageSet, runtime: Runtime):
        self.trial, self.train, self.test, self.runtime = trial, train, test, runtime
        self.knn = next((item for item in trial.evaluate if isinstance(item, KnnConfig)), KnnConfig())

    def look(self, encoder: Encoder, epoch: int) -> dict[str, float]:
        """``knn/top1`` and ``knn/top5`` in percent, ``features/rank`` and ``features/std``, where this `epoch` is due."""
        config = self.trial.pretrain
        knn, diagnosis = (self._due(every, epoch) for every in (config.knn_every, config.diagnose_every))
        if not knn and not diagnosis:
            return {}
        training = encoder.training
        task = self._task(encoder)
        logs: dict[str, float] = {}
        if knn:
            counts = evaluate_knn(task, self.knn).counts
            logs |= {"knn/top1": counts.top1, "knn/top5": counts.top5}
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
                f" standard deviation {std:.3g} (at least {limits.min_std:g})"
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
        )
