"""ssl-sweep from Python: what the commands do, as functions; docs/python.md shows them at work.

Importing this package imports nothing else: each name is imported when it is first used.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .methods.encoder import Encoder
    from .orchestrator.api.backbones import load_backbone
    from .orchestrator.api.evaluation import evaluate
    from .orchestrator.api.sweeps import ResultRow, Results, Sweep, load, plan, results, submit
    from .orchestrator.spec.errors import SpecError, UserError
    from .orchestrator.sweep.status import PlanRow
    from .orchestrator.sweep.submit import Outcome

    __version__: str

__all__ = [
    "Encoder",
    "Outcome",
    "PlanRow",
    "ResultRow",
    "Results",
    "SpecError",
    "Sweep",
    "UserError",
    "__version__",
    "evaluate",
    "load",
    "load_backbone",
    "plan",
    "results",
    "submit",
]

_MODULES = {
    "Encoder": "methods.encoder",
    "Outcome": "orchestrator.sweep.submit",
    "PlanRow": "orchestrator.sweep.status",
    "ResultRow": "orchestrator.api.sweeps",
    "Results": "orchestrator.api.sweeps",
    "SpecError": "orchestrator.spec.errors",
    "Sweep": "orchestrator.api.sweeps",
    "UserError": "orchestrator.spec.errors",
    "evaluate": "orchestrator.api.evaluation",
    "load": "orchestrator.api.sweeps",
    "load_backbone": "orchestrator.api.backbones",
    "plan": "orchestrator.api.sweeps",
    "results": "orchestrator.api.sweeps",
    "submit": "orchestrator.api.sweeps",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from .orchestrator.store.version import package_version

        return package_version()
    if name not in _MODULES:
        raise AttributeError(f"module 'ssl_sweep' has no attribute '{name}'")
    found = getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
