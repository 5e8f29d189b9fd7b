"""Content that proves itself: JSON objects, lines and blobs with checksums, and what is said of damaged ones."""

import hashlib
import json
import re
import zlib
from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ValidationError

M = TypeVar("M", bound=BaseModel)

CHECKSUM = re.compile(rb',?\s*"checksum":\s*"(.*)"\n\}\n\Z')
"""The end of a JSON object with its checksum: of all bytes before it, so that to check is not to parse and write it again."""
LONGEST_END = 200
"""Bytes at the end of a file in which its checksum is."""
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


def _compact(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def sealed(value: Mapping[str, object]) -> bytes:
    """A JSON object as the content of a file, with a checksum as its last key."""
    compact = _compact(value)
    if len(compact) > MOST_INDENTED:
        body, before = compact[:-1], ","
    else:
        body, before = json.dumps(value, indent=2, sort_keys=True)[:-1].rstrip(), ",\n  "
    if not value:
        before = before.removeprefix(",")
    return f'{body}{before}"checksum": "{digest(body.encode())}"\n}}\n'.encode()


def sealed_record(record: BaseModel) -> bytes:
    """A record as the content of a file."""
    return sealed(json.loads(record.model_dump_json()))


def _opened(content: bytes) -> bytes:
    """The JSON without its checksum; what an earlier version wrote has none."""
    if not content:
        raise DamagedError("it is empty")
    end = CHECKSUM.search(content, max(0, len(content) - LONGEST_END))
    if end is None:
        return content
    body = content[: end.start()]
    if digest(body).encode() != end[1]:
        raise DamagedError("its checksum differs")
    return body + b"}"


def unsealed(content: bytes) -> object:
    """The JSON value that `sealed` wrote.

    Raises:
        DamagedError: it is empty, does not parse, or its checksum differs.
    """
    try:
        return json.loads(_opened(content))
    except (ValueError, RecursionError) as error:
        raise error if isinstance(error, DamagedError) else DamagedError("it is not JSON") from None


def unsealed_record(content: bytes, record: type[M]) -> M:
    """As `unsealed`, of a record.

    Raises:
        DamagedError: also if the value is no such record.
    """
    try:
        return record.model_validate_json(_opened(content))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "json_invalid":
            raise DamagedError("it is not JSON") from None
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
