"""Agreement once more, with configuration and method in one file, which imports torch."""

from typing import Literal

from ssl_sweep.methods.base import Batch, Progress, StepOutput

from .agreement import Agreement
from .configs.agreement import AgreementConfig


class OneFileConfig(AgreementConfig):
    title = "Agreement in one file"

    name: Literal["agreement_in_one_file"] = "agreement_in_one_file"


class OneFile(Agreement):
    """Agreement that logs nothing."""

    config: OneFileConfig

    def training_step(self, batch: Batch, progress: Progress) -> StepOutput:
        return StepOutput(super().training_step(batch, progress).loss, {})
