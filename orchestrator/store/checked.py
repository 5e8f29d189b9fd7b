"""Content that proves itself: JSON objects, lines and blobs with checksums, and what is said of damaged ones."""

import hashlib
import json
import re
import zlib
from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ValidationError

M = TypeVar("M", bound=BaseModel)

CHECKSUM = "checksum"
"""Key of a JSON object's own checksum."""
MOST_INDENTED = 64 * 1024
"""Characters of an object that is indented for people to read; of more nobody reads all, and indenting takes long."""
LINE_CHECKSUM = re.compile(r',"crc":"([0-9a-f]{8})"\}$')


class DamagedError(ValueError):
    """Stored content is not what was written; the message says how that shows."""


def digest(content: bytes) -> str:
    """SHA-256, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def digest_of_record(record: BaseModel, exclude: set[str]) -> str:
    """Of its values but for the fields `exclude`; equal whether the record was read or made, which may order keys differently."""
    return digest(_compact(json.loads(record.model_dump_json(exclude=exclude))).encode())


def _compact(value: Mapping[str, object]) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def sealed(value: Mapping[str, object]) -> bytes:
    """A JSON object as the content of a file, its checksum beside its own keys."""
    return _sealed(json.loads(json.dumps(value)))  # tuples and keys as a reader will find them


def sealed_record(record: BaseModel) -> bytes:
    """A record as the content of a file."""
    return _sealed(json.loads(record.model_dump_json()))


def _sealed(plain: Mapping[str, object]) -> bytes:
    compact = _compact(plain)
    checksum = digest(compact.encode())
    if len(compact) > MOST_INDENTED:
        return f'{compact[:-1]},"{CHECKSUM}":"{checksum}"}}\n'.encode()
    return (json.dumps({**plain, CHECKSUM: checksum}, indent=2, sort_keys=True) + "\n").encode()


def unsealed(content: bytes) -> object:
    """The JSON value that `sealed` wrote, without its checksum; what an earlier version wrote has none.

    Raises:
        DamagedError: it is empty, does not parse, or its checksum differs.
    """
    if not content:
        raise DamagedError("it is empty")
    try:
        value: object = json.loads(content)
    except (ValueError, RecursionError):
        raise DamagedError("it is not JSON") from None
    if not isinstance(value, dict) or CHECKSUM not in value:
        return value
    expected: object = value.pop(CHECKSUM)
    if expected != digest(_compact(value).encode()):
        raise DamagedError("its checksum differs")
    return value


def unsealed_record(content: bytes, record: type[M]) -> M:
    """As `unsealed`, of a record.

    Raises:
        DamagedError: also if the value is no such record.
    """
    value = unsealed(content)
    try:
        return record.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "its content"
        raise DamagedError(f"{place}: {first['msg'][:1].lower()}{first['msg'][1:]}") from None


def sealed_line(line: str) -> str:
    """A JSON object on one line, with a checksum as its last key."""
    assert line[-1:] == "}" and "\n" not in line, "one JSON object on one line"
    return f'{line[:-1]},"crc":"{zlib.crc32(line.encode()):08x}"}}'


def unsealed_line(line: str) -> str | None:
    """What `sealed_line` was given, or None if it is damaged."""
    match = LINE_CHECKSUM.search(line)
    if match is None:
        return None
    plain = line[: match.start()] + "}"
    return plain if f"{zlib.crc32(plain.encode()):08x}" == match[1] else None


def is_json(line: str) -> bool:
    """Whether the line parses: all that can be asked of lines without a checksum."""
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True
