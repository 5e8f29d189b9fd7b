"""Passwords in addresses: where they may not be written, and how an address is shown that has one."""

import re

from .locations import VARIABLE

PASSWORD = re.compile(r"(?<=://)([^/\s:@'\"]*):([^\s'\"/]*)@")
HIDDEN = ":***@"
"""What is shown for a password."""
NAMED_CONTAINERS = ("az", "abfs", "abfss")
"""In their addresses, as ``abfss://container@account.dfs.core.windows.net``, what comes before ``@`` is no secret."""
OF_STORES = "holds credentials; set them in the environment, as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and leave them out here"
OF_TRACKING = (
    "holds a password; name a variable instead, as in postgresql://user:${PASSWORD}@HOST/mlflow, or for a server set"
    " MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
)


def without_passwords(text: str) -> str:
    """`text` with the password of each address in it as ``***``: for whatever is shown, logged or kept."""
    return PASSWORD.sub(rf"\1{HIDDEN}", text)


def has_password(text: str) -> bool:
    """Whether an address has a password in it, rather than a variable that holds one."""
    found = PASSWORD.search(text)
    return found is not None and VARIABLE.fullmatch(found[2]) is None


def has_credentials(location: str) -> bool:
    """Whether the address of an object store holds a user or a password."""
    scheme, separator, rest = location.partition("://")
    before, at, _ = rest.partition("/")[0].rpartition("@")
    return bool(separator and at) and (scheme not in NAMED_CONTAINERS or ":" in before)
