"""What a classifier's answers say, as the store has it: with the names of the classes."""

import base64

from ...evaluation.details import Details as Found
from ..store.confusion import Confusion
from ..store.records import Details


def details_record(found: Found, classes: tuple[str, ...]) -> Details:
    """Part of the evaluation's record."""
    recalls = found.recalls
    worst, best = min(recalls, key=lambda one: recalls[one]), max(recalls, key=lambda one: recalls[one])
    return Details(
        balanced_top1=found.balanced_top1,
        ece=found.ece,
        worst_class=classes[worst],
        worst_recall=recalls[worst],
        best_class=classes[best],
        best_recall=recalls[best],
    )


def confusion_record(found: Found, classes: tuple[str, ...]) -> Confusion:
    recalls = found.recalls
    cells = tuple((truth, answer, count) for (truth, answer), count in found.confusion.items())
    return Confusion(
        classes=classes,
        recalls=tuple(recalls.get(one) for one in range(len(classes))),
        cells=cells,
        hits=base64.b64encode(found.hits).decode() if found.hits else None,
    )
