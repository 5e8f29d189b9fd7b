"""Asks the head of a Ray cluster what it is. A program of its own, which `find_cluster` runs.

``python ask_gcs.py HOST:PORT SECONDS`` prints one line of JSON: ``{"ray": ..., "python": ..., "embedded": ...}``, or
``{"error": "token"}``, or ``{"error": "silent"}`` if nothing that answers there is a Ray cluster.

Ray's client has no timeout of its own choosing (`ray.init` tries for 20 seconds to be let in without a token, and for many
minutes to be answered at all) and prints to stderr as it waits; a process can be ended, and its stderr thrown away.
"""

import importlib
import json
import os
import sys
import threading


def answer(address: str) -> dict[str, str | bool]:
    """What the cluster says of itself, with whatever token the environment has for it."""
    from ray._common.usage.usage_lib import get_cluster_metadata
    from ray._raylet import GcsClient  # type: ignore[attr-defined]  # a compiled module
    from ray.exceptions import AuthenticationError, RpcError

    try:
        found = get_cluster_metadata(GcsClient(address=address))
    except AuthenticationError:
        return {"error": "token"}
    except RpcError:
        return {"error": "silent"}
    return {"ray": found["ray_version"], "python": found["python_version"], "embedded": found["ray_init_cluster"]}


def main() -> None:
    address, seconds = sys.argv[1], float(sys.argv[2])
    importlib.import_module("ray")  # the time that this takes does not count
    answers: list[dict[str, str | bool]] = []
    thread = threading.Thread(target=lambda: answers.append(answer(address)), daemon=True)
    thread.start()
    thread.join(seconds)
    print(json.dumps(answers[0] if answers else {"error": "silent"}), flush=True)
    os._exit(0)  # Ray's client would wait for its server


if __name__ == "__main__":
    main()
