"""YAML as data with positions: where each value stands, so that an error can point at it. Lists become tuples.

Scalars follow YAML 1.2's core schema, which is what people expect: ``1e-3`` is a number, ``no`` and ``on`` are text.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import yaml

from .problems import Problem, SpecError

MAX_BYTES = 1_000_000
MAX_VALUES = 20_000  # aliases can stand for more values than a file has bytes
MAX_DEPTH = 50
EMPTY = "the file is empty; a sweep needs at least `name`, `dataset`, `backbone` and `methods`"

Path_ = tuple[str | int, ...]


class Position(NamedTuple):
    """One-based."""

    line: int
    column: int


@dataclass
class Document:
    """A file's data, and the position of each value and key by its path."""

    name: str
    data: dict[str, Any]
    values: dict[Path_, Position] = field(default_factory=dict)
    keys: dict[Path_, Position] = field(default_factory=dict)

    def position(self, path: Path_, *, of_key: bool = False) -> Position:
        """Where `path` stands, or the nearest thing above it that the file has."""
        positions = self.keys if of_key else self.values
        while path not in positions and path:
            path, positions = path[:-1], self.values
        return positions.get(path, Position(1, 1))

    def problem(self, path: Path_, message: str, *, of_key: bool = False) -> Problem:
        return Problem(self.name, self.position(path, of_key=of_key), message)


class _CoreLoader(yaml.SafeLoader):
    """Composes nodes and resolves plain scalars by the core schema; constructs nothing."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}


for tag, pattern, first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
):
    _CoreLoader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(rf"^(?:{pattern})$"), first)


def read_document(path: Path) -> Document:
    """Read the YAML mapping in `path`.

    Raises:
        SpecError: the file cannot be read, is not UTF-8, not YAML, not a mapping, or holds what has no place in a
            sweep: tags, duplicate keys, aliases that explode.
    """
    name = str(path)
    return parse_document(_read_text(path, name), name)


def parse_document(text: str, name: str) -> Document:
    try:
        node = yaml.compose(text, Loader=_CoreLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        position = Position(mark.line + 1, mark.column + 1) if mark else Position(1, 1)
        raise SpecError([Problem(name, position, _explain(error, text, position))]) from None
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        position = Position(before.count("\n") + 1, len(before) - before.rfind("\n"))
        message = f"the character U+{error.character:04X} is not allowed in YAML"
        raise SpecError([Problem(name, position, message)]) from None
    except RecursionError:
        raise SpecError([Problem(name, Position(1, 1), f"nested too deeply; at most {MAX_DEPTH} levels")]) from None
    if node is None:
        raise SpecError(
            [
                Problem(
                    name,
                    Position(1, 1),
                    EMPTY,
                )
            ]
        )
    builder = _Builder(name)
    data = builder.build(node, ())
    if not builder.problems and not isinstance(data, dict):
        kind = "a list" if isinstance(data, tuple) else "a single value"
        builder.problems.append(Problem(name, _start(node), f"got {kind}; a sweep is a mapping of keys to values"))
    if builder.problems:
        raise SpecError(builder.problems)
    return Document(name, data, builder.values, builder.keys)


def _read_text(path: Path, name: str) -> str:
    start = Position(1, 1)
    if path.is_dir():
        raise SpecError([Problem(name, start, "this is a folder; a sweep is one YAML file")])
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise SpecError([Problem(name, start, "there is no such file")]) from None
    except OSError as error:
        raise SpecError([Problem(name, start, f"the file cannot be read: {error.strerror}")]) from None
    if len(content) > MAX_BYTES:
        raise SpecError(
            [Problem(name, start, f"the file has {len(content):,} bytes; a sweep has at most {MAX_BYTES:,}")]
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        position = Position(before.count(b"\n") + 1, len(before) - before.rfind(b"\n"))
        byte = content[error.start]
        raise SpecError(
            [Problem(name, position, f"the byte 0x{byte:02X} is not UTF-8; save the file as UTF-8")]
        ) from None


def _explain(error: yaml.MarkedYAMLError, text: str, position: Position) -> str:
    line = text.splitlines()[position.line - 1] if position.line <= len(text.splitlines()) else ""
    if "\t" in line[: position.column]:
        return "a tab cannot indent YAML; use spaces"
    if "expected a single document" in str(error):
        return "a second YAML document starts here; a sweep file holds one"
    if error.problem is None:
        return f"not YAML: {error.context}"
    return f"not YAML: {error.problem}" + (f" ({error.context})" if error.context else "")


def _start(node: yaml.Node) -> Position:
    return Position(node.start_mark.line + 1, node.start_mark.column + 1)


class _Builder:
    """From nodes to plain data, collecting positions and problems."""

    def __init__(self, name: str):
        self.name = name
        self.values: dict[Path_, Position] = {}
        self.keys: dict[Path_, Position] = {}
        self.problems: list[Problem] = []
        self.count = 0

    def build(self, node: yaml.Node, path: Path_) -> Any:
        self.count += 1
        self.values[path] = _start(node)
        if self.count > MAX_VALUES:
            if self.count == MAX_VALUES + 1:
                self.refuse(node, f"its aliases stand for more than {MAX_VALUES:,} values")
            return None
        if len(path) > MAX_DEPTH:
            return self.refuse(node, f"nested too deeply; at most {MAX_DEPTH} levels")
        if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
            return tuple(self.build(item, (*path, i)) for i, item in enumerate(node.value))
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node)
        return self.refuse(node, f"the tag {node.tag!r} is not allowed; write plain values")

    def mapping(self, node: yaml.MappingNode, path: Path_) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self.refuse(key_node, "a key must be text")
                continue
            key = key_node.value
            if key in result:
                first = self.keys[(*path, key)]
                self.refuse(key_node, f"the key '{key}' stands twice; first in line {first.line}")
                continue
            self.keys[(*path, key)] = _start(key_node)
            result[key] = self.build(value_node, (*path, key))
        return result

    def scalar(self, node: yaml.ScalarNode) -> Any:
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        text = node.value
        try:
            if kind == "int":
                return int(text, 0) if text.startswith(("0x", "0o")) else int(text)
            if kind == "float":
                return float(re.sub(r"\.(inf|nan)", r"\1", text, flags=re.IGNORECASE))
        except ValueError:
            return self.refuse(node, f"got {text[:20]!r}, which is not a usable number")
        if kind == "bool":
            return text.lower() == "true"
        if kind == "null":
            return None
        if kind == "str":
            return text
        return self.refuse(node, f"the tag {node.tag!r} is not allowed; write plain values")

    def refuse(self, node: yaml.Node, message: str) -> None:
        self.problems.append(Problem(self.name, _start(node), message))
