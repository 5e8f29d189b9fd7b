"""Which cluster an address means, and what is said of one that cannot be joined, before Ray is asked to join it."""

import platform
import socket
from collections.abc import Callable, Iterator

import psutil
import pytest
import ray
from ssl_sweep.orchestrator.engine import find_cluster as module
from ssl_sweep.orchestrator.engine.cluster import start_ray
from ssl_sweep.orchestrator.engine.find_cluster import Cluster, Unusable, find_cluster
from ssl_sweep.orchestrator.spec.errors import UserError

HERE = Cluster(ray.__version__, platform.python_version(), embedded=False)
EMBEDDED = HERE._replace(embedded=True)
LOCKED = Unusable(module.HOW_TO_AUTHENTICATE, asks_for_token=True)
Answers = Callable[..., None]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """What each address answers; all of them are on this machine."""

    def answer(**found: Cluster | Unusable) -> None:
        monkeypatch.setattr(module, "ask", lambda address, send_token=False: found[address])
        monkeypatch.setattr(module, "_local_addresses", lambda: set(found))

    monkeypatch.delenv(module.ADDRESS, raising=False)
    return answer


@pytest.fixture
def listener() -> Iterator[int]:
    """A port on which something listens that is not Ray."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def refused(address: str) -> str:
    with pytest.raises(UserError) as error:
        find_cluster(address)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "address", ["", "local", "6379", "host:", ":6379", "host:port", "host:0", "host:70000", "ray://h:1"]
)
def test_what_is_no_address(address: str) -> None:
    assert (
        refused(address)
        == f"--address: got '{address}'; must be auto, HOST:PORT, or http://HOST:8265 for a detached job"
    )


def test_a_closed_port_is_noticed_at_once(listener: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(UserError) as error:
        start_ray(f"127.0.0.1:{port}", 1)
    assert str(error.value) == f"no Ray cluster at '127.0.0.1:{port}': Connection refused"
    assert not ray.is_initialized()


def test_an_unknown_host(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", unknown)
    assert refused("nowhere:6379") == "no Ray cluster at 'nowhere:6379': no host is known as 'nowhere'"


def test_what_listens_but_is_not_ray(listener: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.1)
    expected = "what listens there does not answer as Ray's head does (its port is 6379, if none is given)"
    assert refused(f"127.0.0.1:{listener}") == f"no Ray cluster at '127.0.0.1:{listener}': {expected}"


def test_a_token_is_asked_for(answers: Answers) -> None:
    answers(head=LOCKED)
    said = "asks for a token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN to the cluster's (`ray get-auth-token` on its"
    assert refused("head").startswith(f"the Ray cluster at 'head' {said}")
    assert refused("auto").startswith(f"the Ray cluster at 'head' {said}")


def test_other_versions(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(old=HERE._replace(ray="2.40.0"), other=HERE._replace(python="3.99.1"))
    here = f"here are Ray {ray.__version__} and Python {platform.python_version()}; they must be the same"
    assert (
        refused("old") == f"the Ray cluster at 'old' runs Ray 2.40.0 on Python {platform.python_version()}, and {here}"
    )
    assert f"Python 3.99.1, and {here}" in refused("other")
    answers(patch=HERE._replace(python=f"{platform.python_version().rpartition('.')[0]}.99"))
    assert "they must be the same" in refused("patch")
    monkeypatch.setenv("RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL", "minor")
    assert find_cluster("patch") == "patch"


def test_auto_joins_a_started_cluster_and_no_embedded_one(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(a=EMBEDDED, b=HERE, c=LOCKED, d=Unusable("Connection refused"))
    assert find_cluster("auto") == "b"
    answers(a=EMBEDDED)
    assert refused("auto").startswith(
        "no Ray cluster runs on this machine (a Ray that another program embeds does not count)"
    )
    answers()
    assert refused("auto").startswith("no Ray cluster runs on this machine")
    answers(a=HERE, b=HERE)
    assert refused("auto") == "--address auto: several Ray clusters run on this machine (a, b); name one"
    monkeypatch.setenv(module.ADDRESS, "b")
    assert find_cluster("auto") == "b"


def test_an_embedded_ray_is_not_joined_by_its_address_either(answers: Answers) -> None:
    answers(a=EMBEDDED)
    assert refused("a").startswith("the Ray at 'a' is embedded in another program and ends with it")


def test_other_sweeps_embedded_rays_are_known_by_their_label(monkeypatch: pytest.MonkeyPatch) -> None:
    class Process:
        def __init__(self, *words: str):
            self.info = {"cmdline": list(words)}

    raylet = "/site-packages/ray/core/src/ray/raylet/raylet"
    processes = [
        Process(raylet, "--gcs-address=10.0.0.1:6379", "--labels="),
        Process(raylet, "--gcs-address=127.0.0.1:4711", '--labels={"ssl-sweep/embedded": "true"}'),
        Process(raylet, "--gcs-address=10.0.0.2:6379", '--labels={"zone": "a"}', "--labelled"),
        Process("grep", "--gcs-address=10.0.0.3:6379"),
        Process(),
    ]
    monkeypatch.setattr(psutil, "process_iter", lambda attributes: processes)
    assert module._local_addresses() == {"10.0.0.1:6379", "10.0.0.2:6379"}
