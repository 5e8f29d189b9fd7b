"""The environment variables that Ray and MLflow read: set in one place, before either is imported."""

import os
import secrets

RAY = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # quick answers to a dead worker
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # one process more per group: the driver asks for all of them
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # the default of 15 starves workers next to other programs
    "RAY_worker_maximum_startup_concurrency": "8",  # the workers of a group start together
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # an interrupt is ours to handle
    "RAY_AIR_NEW_OUTPUT": "0",  # the table is ours to draw
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",  # nor does it print a page about each process that is lost: we say what follows
}
MLFLOW = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # an absent server must not hold up a sweep
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",  # what fails is reported by us, in one line instead of a traceback
}


LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "GLOO_SOCKET_IFNAME": "lo"}
"""As Ray does on a desktop: the node's address is 127.0.0.1, and every server of Ray's listens there and nowhere else.

The second is for the sockets between workers, which otherwise listen on whatever address the machine's name has.
`_node_ip_address` cannot say so: Ray replaces 127.0.0.1 by the address that other machines see.
"""


def configure(*, embedded: bool = False) -> None:
    """Set what the user has not set. The workers of an embedded Ray inherit it.

    `embedded`: Ray is about to be started here, for this process alone. Its servers listen on loopback, and let nobody in
    without a token that is made now: Ray's own, in the user's home folder, other users of the machine may be able to read.
    """
    variables = {**RAY, **MLFLOW}
    if embedded:
        os.environ["RAY_AUTH_MODE"] = "token"  # also if the user's clusters have none
        variables |= {**LOOPBACK, "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    for name, value in variables.items():
        os.environ.setdefault(name, value)
