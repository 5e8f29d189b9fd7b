"""YAML as data with positions: where each value stands, so that an error can point at it. Lists become tuples.

Scalars follow YAML 1.2's core schema, which is what people expect: ``1e-3`` is a number, ``no`` and ``on`` are text.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import yaml
from yaml.composer import ComposerError
from yaml.reader import ReaderError

from .errors import Problem, SpecError, Steps, dotted, show

MAX_BYTES = 200_000
MAX_VALUES = 20_000  # aliases can stand for more values than a file has bytes
MAX_DEPTH = 50
TAG = "tag:yaml.org,2002:"
EMPTY = "the file is empty; a sweep needs at least `name`, `dataset`, `backbone` and `methods`"
DEEP = f"nested too deeply; at most {MAX_DEPTH} levels"

SCALARS = {  # pattern, and what the text can start with
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
}


class Position(NamedTuple):
    """One-based."""

    line: int
    column: int


START = Position(1, 1)


@dataclass
class Document:
    """A file's data, and the position of each value and key by its path."""

    name: str
    data: dict[str, Any]
    values: dict[Steps, Position] = field(default_factory=dict)
    keys: dict[Steps, Position] = field(default_factory=dict)
    text: str = ""
    """Of the file, which has the data as it was before places in it were made whole."""
    options: dict[Steps, str] = field(default_factory=dict)
    """By place: options of the command line whose values take the place of the file's, see `overrides.py`."""

    def position(self, path: Steps, *, of_key: bool = False) -> Position:
        """Where `path` stands, or the nearest thing above it that the file has."""
        positions = self.keys if of_key else self.values
        while path not in positions and path:
            path, positions = path[:-1], self.values
        return positions.get(path, START)

    def problem(self, path: Steps, message: str, *, of_key: bool = False) -> Problem:
        option = next((self.options[path[:i]] for i in range(len(path), 0, -1) if path[:i] in self.options), None)
        if option is not None:
            return Problem(option, (0, 0), message)
        return Problem(self.name, self.position(path, of_key=of_key), message)


class CoreResolver(yaml.resolver.Resolver):
    """Resolves plain scalars by the core schema."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}


for _kind, (_pattern, _first) in SCALARS.items():
    CoreResolver.add_implicit_resolver(TAG + _kind, re.compile(rf"^(?:{_pattern})$"), _first)


class _CoreLoader(CoreResolver, yaml.SafeLoader):
    """Composes nodes; constructs nothing."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ComposerError(None, None, DEEP, self.peek_event().start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def read_document(path: Path) -> Document:
    """Read the YAML mapping in `path`.

    Raises:
        SpecError: the file cannot be read, is not UTF-8, not YAML, not a mapping, or holds what has no place in a
            sweep: tags, duplicate keys, aliases that explode.
    """
    name = str(path)
    return parse_document(_read_text(path, name), name)


def parse_document(text: str, name: str) -> Document:
    """As `read_document`, of a file's text."""
    node = _compose(text, name)
    if node is None or (isinstance(node, yaml.ScalarNode) and node.tag == f"{TAG}null"):
        raise _refusal(name, START, EMPTY)
    builder = _Builder(name)
    data = builder.build(node, ())
    if builder.problems:
        raise SpecError(builder.problems)
    if not isinstance(data, dict):
        given = "a list" if isinstance(data, tuple) else show(data)
        raise _refusal(
            name, _start(node), f"got {given}; a sweep is a mapping of keys to values, as in `name: my-sweep`"
        )
    return Document(name, data, builder.values, builder.keys, text)


def _compose(text: str, name: str) -> yaml.Node | None:
    try:
        loader = _CoreLoader(text)
    except ReaderError as error:
        before = text[: error.position]
        position = Position(before.count("\n") + 1, len(before) - before.rfind("\n"))
        message = f"the character U+{ord(text[error.position]):04X} is not allowed in YAML"
        raise _refusal(name, position, message) from None
    try:
        return loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        position = Position(mark.line + 1, mark.column + 1) if mark else START
        raise _refusal(name, position, _explain(error, text, position)) from None
    except (ValueError, OverflowError):  # PyYAML's own, of "\UFFFFFFFF" and the like
        message = "not YAML: no such character or number"
        raise _refusal(name, Position(loader.line + 1, loader.column + 1), message) from None


def _refusal(name: str, position: Position, message: str) -> SpecError:
    return SpecError([Problem(name, position, message)])


def _read_text(path: Path, name: str) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise _refusal(name, START, "there is no such file") from None
    except IsADirectoryError:
        raise _refusal(name, START, "this is a folder; a sweep is one YAML file") from None
    except OSError as error:
        raise _refusal(name, START, f"the file cannot be read: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise _refusal(name, START, f"the file is too large; a sweep has at most {MAX_BYTES:,} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8-sig")) + 1
        position = Position(before.count(b"\n") + 1, column)
        message = f"the byte 0x{content[error.start]:02X} is not UTF-8; save the file as UTF-8"
        raise _refusal(name, position, message) from None


def _explain(error: yaml.MarkedYAMLError, text: str, position: Position) -> str:
    lines = text.splitlines()
    line = lines[position.line - 1] if position.line <= len(lines) else ""
    if line[position.column - 1 : position.column] == "\t" or "\t" in line[: len(line) - len(line.lstrip())]:
        return "tabs cannot indent or separate YAML; use spaces"
    if error.problem == DEEP:
        return DEEP
    if error.context == "expected a single document in the stream":
        return "a second YAML document starts here; a sweep file holds one"
    if error.problem == "mapping values are not allowed here":
        return "not YAML: unexpected ':'; check the indentation, and put text with a ':' in quotes"
    if error.problem is not None and error.problem.endswith("cannot start any token"):
        return f"not YAML: {error.problem}; put text that starts with it in quotes"
    inside = ""
    if error.context is not None and error.context_mark is not None:
        inside = f" ({error.context} that starts in line {error.context_mark.line + 1})"
    return f"not YAML: {error.problem or error.context}{inside}"


def _start(node: yaml.Node) -> Position:
    return Position(node.start_mark.line + 1, node.start_mark.column + 1)


class _Builder:
    """From nodes to plain data, collecting positions and problems."""

    def __init__(self, name: str):
        self.name = name
        self.values: dict[Steps, Position] = {}
        self.keys: dict[Steps, Position] = {}
        self.problems: list[Problem] = []
        self.open: set[yaml.Node] = set()
        self.count = 0

    def build(self, node: yaml.Node, path: Steps) -> Any:
        self.count += 1
        self.values[path] = _start(node)
        if self.count > MAX_VALUES:
            if self.count == MAX_VALUES + 1:
                self.refuse(node, f"too many values, with those that aliases stand for: at most {MAX_VALUES:,}")
            return None
        if len(path) > MAX_DEPTH:
            return self.refuse(node, DEEP)
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node, path)
        if node in self.open:
            return self.refuse(node, f"{dotted(path)}: recursive alias")
        self.open.add(node)
        try:
            if isinstance(node, yaml.MappingNode) and node.tag == f"{TAG}map":
                return self.mapping(node, path)
            if isinstance(node, yaml.SequenceNode) and node.tag == f"{TAG}seq":
                return tuple(self.build(item, (*path, i)) for i, item in enumerate(node.value))
            return self.refuse_tag(node, path)
        finally:
            self.open.remove(node)

    def mapping(self, node: yaml.MappingNode, path: Steps) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                given = "a list" if isinstance(key_node, yaml.SequenceNode) else "a mapping"
                self.refuse(key_node, f"got {given} as a key; a key must be text")
                continue
            key = key_node.value
            self.scalar(key_node, (*path, key))  # a number makes a key as it is written, a tag does not
            where = dotted((*path, key))
            if key == "<<" and key_node.style is None:
                self.refuse(key_node, f"{where}: merge keys are not allowed; write the keys out")
            elif key in result:
                first = self.keys[(*path, key)]
                self.refuse(key_node, f"{where}: duplicate key; first defined on line {first.line}")
            else:
                self.keys[(*path, key)] = _start(key_node)
                result[key] = self.build(value_node, (*path, key))
        return result

    def scalar(self, node: yaml.ScalarNode, path: Steps) -> Any:
        kind, text = node.tag.removeprefix(TAG), node.value
        where = f"{dotted(path)}: " if path else ""
        if kind == "str":
            if any("\ud800" <= character <= "\udfff" for character in text):
                return self.refuse(node, f"{where}got {show(text)}; unpaired surrogate: not valid text")
            return text
        if kind not in SCALARS or not node.tag.startswith(TAG):
            return self.refuse_tag(node, path)
        if not re.fullmatch(SCALARS[kind][0], text):
            return self.refuse(node, f"{where}got the tag '!!{kind}' on {show(text)}, which it does not fit")
        if kind == "int":
            number = _integer(text)
            if number is None:
                text = text if len(text) <= 40 else f"{text[:37]}..."
                return self.refuse(node, f"{where}got {text}; a whole number has at most 18 digits")
            return number
        if kind == "float":
            return float(re.sub(r"\.(inf|nan)", r"\1", text, flags=re.IGNORECASE))
        return None if kind == "null" else text.lower() == "true"

    def refuse_tag(self, node: yaml.Node, path: Steps) -> None:
        where = f"{dotted(path)}: " if path else ""
        self.refuse(
            node, f"{where}got the tag {show(node.tag.replace(TAG, '!!'))}; tags are not allowed, write plain values"
        )

    def refuse(self, node: yaml.Node, message: str) -> None:
        self.problems.append(Problem(self.name, _start(node), message))


def _integer(text: str) -> int | None:
    if len(text) > 40:
        return None
    number = int(text, 0) if text.startswith(("0x", "0o")) else int(text)
    return number if abs(number) < 10**18 else None
