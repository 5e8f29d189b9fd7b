"""The weights that a trial's backbone begins with, from the store into the method's networks."""

import logging
from typing import Any

from ...methods.base import Method
from ...methods.encoder import Encoder
from ...methods.weight_files import WeightsError, tensors_in
from ...methods.weights import Match, load_weights, match_weights
from ..spec.models import TrialSpec
from ..store.fault import Fault
from ..store.files import Store
from ..store.weights import WeightsStore
from .journal import TrialFailed

log = logging.getLogger(__name__)


def begin_with_weights(trial: TrialSpec, method: Method[Any], store: Store, *, resumed: bool) -> Match | None:
    """Put the trial's given weights, if it has any, into every encoder of `method`: a student's and its teacher's.

    This comes after the method is built, so that nothing which it initialises in an encoder stays: its fixed positions
    give way too. A training that is `resumed` has its weights already.

    Returns:
        What was taken of the file.

    Raises:
        TrialFailed: the store has no copy of the weights any more, or they do not fit.
    """
    weights = trial.backbone.weights
    if weights is None:
        return None
    assert weights.sha256 is not None, "the sweep looked them up"
    content = WeightsStore(store).read(weights.sha256)
    if content is None:
        text = f"the store has no copy of its weights, {weights.place}: submit the sweep again, which writes one"
        raise TrialFailed(text, Fault.STORE_ERROR)
    try:
        match = match_weights(tensors_in(content), method.backbone, prefix=weights.prefix, partial=weights.partial)
    except WeightsError as error:  # of a backbone that a search sampled
        raise TrialFailed(f"backbone.weights: {weights.place} {error}", Fault.DATA_ERROR) from None
    if not resumed:
        for module in method.modules():
            if isinstance(module, Encoder):
                load_weights(module, match)
    log.info("the backbone begins with %s: %s", weights.place, match)
    return match
