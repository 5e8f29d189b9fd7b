"""Pictures of what a sweep leaves: its report, and its pages in MLflow's interface.

    python docs/look.py sweep STORAGE SWEEP OUT_FOLDER [--trial NAME] [--chromium PATH]
    python docs/look.py report REPORT_HTML OUT_FOLDER [--chromium PATH]

STORAGE is a folder that holds a finished sweep named SWEEP; Chromium must be installed. Into OUT_FOLDER go the report
(light, dark, on a phone), `report.png` for the README (cut to its first plots), and MLflow's list of runs, the sweep's
run and one trial's with its metrics and artifacts. `--trial` picks the trial; else it is the first by name. Of a report by
itself, such as `benchmarks/report_rows.py` writes: wide (1600 px), narrow (420 px), dark, as printed, and with a filter and
a curve pointed at. Starts `mlflow ui` and Chromium on free ports of this machine, and ends both.
"""

import argparse
import asyncio
import base64
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any

import aiohttp  # MLflow depends on it
from PIL import Image

SECONDS, START_SECONDS = 60, 240
"""The longest wait for a page, and for a server to start."""
# MLflow's pages are drawn by JavaScript: loaded is what shows a text and neither spins nor has placeholders.
LOADED = """(() => {{
  const shown = element => {{
    const box = element.getBoundingClientRect();
    return element.checkVisibility({{opacityProperty: true, visibilityProperty: true}})
      && box.height > 0 && box.top < innerHeight;  // what lies below is drawn on scrolling
  }};
  const busy = [...document.querySelectorAll('[aria-busy=true], [class*=skeleton i], [class*=spin i]')].filter(shown);
  return document.readyState == 'complete' && !busy.length && document.body.innerText.includes({text!r})
    ? document.body.innerText.length : 0;
}})()"""
NO_ASSISTANT = """try {
  localStorage["mlflow.assistant.panelOpen_v1"] = "false";
  localStorage["mlflow.assistant.fab.autoOpenedOnFirstLoad_v1"] = "true";
} catch {}"""
UNFOLD = "document.querySelector('[data-component-id*=runnamecellrenderer]')"
FIRST_PLOTS_END = "document.querySelector('figure')?.getBoundingClientRect().bottom + scrollY || 1200"
SHOW_MORE = "[...document.querySelectorAll('button')].find(button => button.innerText == 'Show more')"


@contextlib.contextmanager
def started(command: list[str], log: Path, **environment: str) -> Generator[None]:
    """A process and whatever it starts, in a session of their own, ended at the exit."""
    with log.open("w") as stream:
        process = subprocess.Popen(
            command, stdout=stream, stderr=stream, start_new_session=True, env=os.environ | environment
        )
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Page:
    """A page of Chromium, steered through its DevTools protocol."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse):
        self.socket, self.count = socket, 0

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self.count += 1
        await self.socket.send_json({"id": self.count, "method": method, "params": parameters})
        while True:
            answer = await self.socket.receive_json(timeout=SECONDS)
            if answer.get("id") == self.count:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    async def picture(
        self, url: str, path: Path, text: str = "", size: tuple[int, int] = (1440, 900), dark: bool = False,
        whole: bool = False, scale: float = 1, click: str = "", media: str = "",
    ) -> None:  # fmt: skip
        """Load `url`, wait until it shows `text` and no longer changes, and write its picture to `path`.

        `click` is an expression of JavaScript for what is then clicked, such as a thing that unfolds. `media`: ``print``.
        """
        width, height = size
        theme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        await self.call("Emulation.setEmulatedMedia", features=theme, media=media)
        metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 500}
        await self.call("Emulation.setDeviceMetricsOverride", **metrics)
        await self.call("Page.navigate", url="about:blank")  # else a change after # alone loads nothing
        await self.call("Page.navigate", url=url)
        loaded = await self._loaded(text)
        if click:
            await self.call("Runtime.evaluate", expression=f"({click})?.click()")
            loaded = await self._loaded(text)
        if not loaded:
            print(f"{path.name}: not loaded after {SECONDS} s", file=sys.stderr)
        shot = await self.call("Page.captureScreenshot", captureBeyondViewport=whole, **await self._clip(whole))
        path.write_bytes(base64.b64decode(shot["data"]))
        print(path)

    async def _loaded(self, text: str) -> bool:
        still, before = 0, 0
        for _ in range(2 * SECONDS):
            await asyncio.sleep(0.5)
            answer = await self.call("Runtime.evaluate", expression=LOADED.format(text=text))
            now = answer["result"].get("value") or 0
            still, before = (still + 1 if now and now == before else 0), now
            if still == 4:
                return True
        return False

    async def _clip(self, whole: bool) -> dict[str, Any]:
        if not whole:
            return {}
        content = (await self.call("Page.getLayoutMetrics"))["cssContentSize"]
        return {"clip": {"x": 0, "y": 0, "width": content["width"], "height": content["height"], "scale": 1}}


FILTERED = """(() => {
  const field = document.querySelector('#filter input');
  field.value = 'vit';
  field.dispatchEvent(new Event('input'));
  const chart = document.querySelector('.chart svg'), box = chart?.getBoundingClientRect();
  chart?.dispatchEvent(new PointerEvent('pointermove', {clientX: box.left + box.width / 2, clientY: box.top + box.height / 4}));
})()"""


@contextlib.asynccontextmanager
async def opened(devtools: str) -> AsyncGenerator[Page]:
    async with aiohttp.ClientSession() as session:
        async with session.put(f"{devtools}/json/new?about:blank") as answer:
            address = (await answer.json())["webSocketDebuggerUrl"]
        async with session.ws_connect(address, max_msg_size=0) as connected:
            page = Page(connected)
            await page.call("Page.enable")
            yield page


async def look_at_report(report: Path, out: Path, devtools: str) -> None:
    url, name = report.absolute().as_uri(), report.absolute().parent.name
    async with opened(devtools) as page:
        await page.picture(url, out / f"{name}-wide.png", size=(1600, 1000), whole=True)
        await page.picture(url, out / f"{name}-narrow.png", size=(420, 900), whole=True)
        await page.picture(url, out / f"{name}-dark.png", size=(1600, 1000), dark=True, whole=True)
        await page.picture(url, out / f"{name}-print.png", size=(1000, 700), media="print", whole=True)
        await page.picture(url, out / f"{name}-filtered.png", size=(1600, 1600), click=FILTERED)


async def look(storage: Path, sweep: str, out: Path, server: str, devtools: str, trial: str | None) -> None:
    from mlflow import MlflowClient  # slow to import, and not needed for a report

    client = MlflowClient(server)
    experiment = client.get_experiment_by_name(sweep)
    assert experiment is not None, f"no experiment '{sweep}' in {storage}/mlflow.db"
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = sorted((run for run in runs if run is not parent), key=lambda run: str(run.info.run_name))
    child = next(run for run in children if (trial or "") in str(run.info.run_name))
    report = (storage / "sweeps" / sweep / "report" / "report.html").absolute().as_uri()
    base = f"{server}/#/experiments/{experiment.experiment_id}"
    training = "?workflowType=machine_learning"  # which of MLflow's two sidebars
    async with opened(devtools) as page:
        await page.call("Page.addScriptToEvaluateOnNewDocument", source=NO_ASSISTANT)
        await page.picture(report, out / "report-light.png", sweep, (1200, 900), whole=True)
        answer = await page.call("Runtime.evaluate", expression=FIRST_PLOTS_END)
        crop(out / "report-light.png", out / "report.png", round(answer["result"]["value"]) + 30)
        await page.picture(report, out / "report-dark.png", sweep, (1200, 900), dark=True, whole=True)
        await page.picture(report, out / "report-phone.png", sweep, (390, 844), whole=True, scale=2)
        await page.picture(f"{base}/runs{training}", out / "mlflow-runs.png", "matching runs", click=UNFOLD)
        for run, file, artifact, text in (
            (parent, "sweep", "/report/report.html", "sweep.yaml"),
            (child, "trial", "", "backbone.safetensors"),
        ):
            place, name = f"{base}/runs/{run.info.run_id}", str(run.info.run_name)
            await page.picture(place + training, out / f"mlflow-{file}.png", name, (1440, 1300), click=SHOW_MORE)
            await page.picture(f"{place}/artifacts{artifact}{training}", out / f"mlflow-{file}-artifacts.png", text)
        place += f"/model-metrics{training}"
        await page.picture(place, out / "mlflow-trial-metrics.png", "loss", (1440, 4400))


def crop(source: Path, target: Path, height: int) -> None:
    """The top of the report."""
    with Image.open(source) as picture:
        top = picture.convert("RGB").crop((0, 0, picture.width, min(height, picture.height)))
        top.save(target, optimize=True)
    print(f"{target} ({target.stat().st_size // 1024} kB)")


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    of_sweep, of_report = kinds.add_parser("sweep"), kinds.add_parser("report")
    of_sweep.add_argument("storage", type=Path)
    of_sweep.add_argument("sweep")
    of_report.add_argument("report", type=Path)
    for kind in (of_sweep, of_report):
        kind.add_argument("out_folder", type=Path)
        kind.add_argument("--chromium", default="chromium")
    of_sweep.add_argument("--trial", help="part of the name of the run to show")
    arguments = parser.parse_args()
    out: Path = arguments.out_folder
    out.mkdir(parents=True, exist_ok=True)
    if arguments.kind == "report":
        with browser(arguments.chromium, out) as devtools:
            asyncio.run(look_at_report(arguments.report, out, devtools))
        return
    port = free_port()
    server = f"http://127.0.0.1:{port}"
    database = f"sqlite:///{arguments.storage.absolute()}/mlflow.db"
    ui = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", database, "--port", str(port)]
    with (
        started([*ui, "--workers", "1"], out / "mlflow.log", MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false"),
        browser(arguments.chromium, out) as devtools,
    ):
        asyncio.run(answering(f"{server}/health"))
        asyncio.run(look(arguments.storage, arguments.sweep, out, server, devtools, arguments.trial))


@contextlib.contextmanager
def browser(chromium: str, out: Path) -> Generator[str]:
    """Chromium, until the exit; the address of its DevTools."""
    port = free_port()
    command = [chromium, "--headless=new", f"--remote-debugging-port={port}", "--hide-scrollbars"]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        command += [f"--user-data-dir={scratch}/profile", "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage"]
        command += ["--no-sandbox"] if os.geteuid() == 0 else []
        with started(command, out / "chromium.log"):
            devtools = f"http://127.0.0.1:{port}"
            asyncio.run(answering(f"{devtools}/json/version"))
            yield devtools


async def answering(*addresses: str) -> None:
    for address in addresses:
        for _ in range(2 * START_SECONDS):
            try:
                with urllib.request.urlopen(address, timeout=5):
                    break
            except (urllib.error.URLError, OSError):
                await asyncio.sleep(0.5)
        else:
            raise SystemExit(f"no answer from {address}")


if __name__ == "__main__":
    main()
