"""Gates in a trial: a test that kills waits until the trial is at a certain point, and the trial waits for the test.

A method of a package of its own is SimCLR, or the untrained backbone, whose encoder counts its forward passes. At the passes
that a test names the process says that it is there, and goes on once the gate is open.
"""

from pathlib import Path
from typing import Any

SOURCE = """
import os, time
from pathlib import Path
from typing import Literal

from ssl_sweep.methods.configs.random import RandomConfig
from ssl_sweep.methods.configs.simclr import SimCLRConfig
from ssl_sweep.methods.random import Random
from ssl_sweep.methods.simclr import SimCLR

PASSES = 0


def install(encoder, config):
    def gate(*_):
        global PASSES
        PASSES += 1
        closed = Path(config.gates) / str(PASSES)
        if closed.exists():
            (closed / str(os.getpid())).touch()
            while closed.exists() and not (closed / "open").exists():
                time.sleep(0.02)

    encoder.register_forward_pre_hook(gate)


class GatedConfig(SimCLRConfig):
    title = "Gated"
    name: Literal["gated"] = "gated"
    gates: str = ""


class Gated(SimCLR):
    def __init__(self, config, encoder, data):
        super().__init__(config, encoder, data)
        install(encoder, config)


class GatedRandomConfig(RandomConfig):
    title = "Gated random"
    name: Literal["gated_random"] = "gated_random"
    gates: str = ""


class GatedRandom(Random):
    def __init__(self, config, encoder, data):
        super().__init__(config, encoder, data)
        install(encoder, config)
"""


class Gates:
    """A folder of gates, each named by the forward pass at which it is."""

    def __init__(self, folder: Path):
        """`folder` gets the package as well; it must be on the path of the processes."""
        self.folder = folder
        (folder / "gated_methods-1.dist-info").mkdir(parents=True)
        (folder / "gated_methods.py").write_text(SOURCE)
        information = folder / "gated_methods-1.dist-info"
        (information / "METADATA").write_text("Metadata-Version: 2.1\nName: gated-methods\nVersion: 1\n")
        names = {"gated": "GatedConfig", "gated_random": "GatedRandomConfig"}
        points = "\n".join(f"{name} = gated_methods:{config}" for name, config in names.items())
        (information / "entry_points.txt").write_text(f"[ssl_sweep.methods]\n{points}\n")

    def method(self, name: str = "gated") -> dict[str, Any]:
        """An entry of a sweep's `methods`."""
        return {"name": name, "gates": str(self.folder / "gates")}

    def close(self, forward_pass: int) -> None:
        """Processes wait there from now on."""
        (self.folder / "gates" / str(forward_pass)).mkdir(parents=True)

    def reached(self, forward_pass: int, processes: int = 1) -> bool:
        """Whether so many processes wait there."""
        return len(list((self.folder / "gates" / str(forward_pass)).glob("[0-9]*"))) >= processes

    def open(self, forward_pass: int) -> None:
        """Let the processes go on."""
        (self.folder / "gates" / str(forward_pass) / "open").touch()
