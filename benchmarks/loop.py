"""What the training loop costs beside the views: both alone, then the loop with a model that does nothing.

    python benchmarks/loop.py --cifar10 PATH

The loop is that of every trial, with its losses, events, rates and checkpoint requests; its method reads one number of each
view. Both make SimCLR's views of the same images, by turns; the best turn of each counts.
"""

import argparse
import tempfile
import time
from contextlib import closing
from typing import Any
from unittest.mock import patch

import torch
from ssl_sweep.datasets.batches import training_batches
from ssl_sweep.datasets.config import DatasetConfig
from ssl_sweep.datasets.image_set import ImageSet
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.methods.base import Batch, Method, Progress, StepOutput, TrainingSet
from ssl_sweep.methods.config import BackboneConfig, PretrainConfig
from ssl_sweep.methods.encoder import Encoder
from ssl_sweep.methods.simclr import SimCLRConfig
from ssl_sweep.orchestrator.spec.models import TrialSpec, data_root
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.trial_folder import TrialStore
from ssl_sweep.orchestrator.trial import learner
from ssl_sweep.orchestrator.trial.background import Background
from ssl_sweep.orchestrator.trial.journal import Deaf, Journal
from ssl_sweep.orchestrator.trial.pretrain import pretrain
from ssl_sweep.orchestrator.trial.runtime import Runtime
from torch import nn

TURNS = 5


class Nothing(Method[Any]):
    """Looks at one number of each view, and learns one number."""

    def __init__(self, config: Any, encoder: Encoder, data: TrainingSet):
        super().__init__(config, encoder, data)
        self.encoder = encoder.requires_grad_(False)
        self.learned = nn.Parameter(torch.zeros(()))

    @property
    def backbone(self) -> Encoder:
        return self.encoder

    def training_step(self, batch: Batch, progress: Progress) -> StepOutput:
        seen = torch.stack([view.image[0, 0, 0, 0] for view in batch.global_views]).mean()
        return StepOutput((self.learned - seen).square(), {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cifar10", help="folder of CIFAR-10; without it, scikit-learn's digits at 32 pixels")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--epochs", type=int, default=2, help="of each turn")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    name, path = ("cifar10", arguments.cifar10) if arguments.cifar10 else ("digits", None)
    dataset = DatasetConfig(name=name, path=path, image_size=32)
    runtime = Runtime(torch.device(arguments.device))
    prepared = prepare(dataset, data_root())
    train = ImageSet.open(prepared, "train", device=runtime.device)
    trial = TrialSpec(
        dataset=dataset,
        image_size=32,
        backbone=BackboneConfig(name="resnet18-cifar"),
        method=SimCLRConfig(),
        pretrain=PretrainConfig(epochs=arguments.epochs, batch_size=arguments.batch, knn_every=0, diagnose_every=0),
        evaluate=(),
        seed=0,
    )
    steps = arguments.epochs * (len(train) // arguments.batch)

    def views_alone() -> float:
        start = time.perf_counter()
        batches = training_batches(train, trial.method.views, 32, seed=0, batch_size=arguments.batch, total_steps=steps)
        for batch in batches:
            del batch
        if runtime.device.type == "cuda":
            torch.cuda.synchronize()
        return steps * arguments.batch / (time.perf_counter() - start)

    def loop() -> float:
        """As a trial reports it: without the making of the model and the writing of its file."""
        with tempfile.TemporaryDirectory() as folder, closing(Background()) as background:
            store = TrialStore(Store(folder), "trial")
            pretrain(trial, store, train, train, runtime, Journal(store, runtime, Deaf(), background))
            record = store.pretrained()
        assert record is not None
        return record.images_per_second

    alone = whole = 0.0
    with patch.object(learner, "build_method", Nothing):
        for _ in range(TURNS):
            alone, whole = max(alone, views_alone()), max(whole, loop())
    print(f"views alone: {alone:,.0f} images/s; the loop with them: {whole:,.0f}, {whole / alone:.2f} of it")


if __name__ == "__main__":
    main()
