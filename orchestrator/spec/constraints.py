"""Constraints between the values of a trial: comparisons and arithmetic over dotted keys, and nothing else of Python."""

import ast
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator

from .errors import Misfit, show

ARITHMETIC: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.USub: operator.neg,
    ast.Not: operator.not_,
}
COMPARISONS: dict[type[ast.AST], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
RULE = "must be a comparison of dotted keys and numbers, as 'pretrain.schedule.warmup_epochs < pretrain.epochs / 2'"
WORDS = {"true": True, "false": False, "null": None}


class _Absent(Exception):
    """A key that the trial does not have."""


def _checked(text: str) -> str:
    """The text, if it is such an expression.

    Raises:
        Misfit: it is not.
    """
    try:
        body = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError):
        raise Misfit(f"got {show(text)}; {RULE}") from None
    if not isinstance(body, (ast.Compare, ast.BoolOp, ast.UnaryOp)) or not all(map(_is_allowed, _parts(body))):
        raise Misfit(f"got {show(text)}; {RULE}")
    if not keys_of(text):
        raise Misfit(f"got {show(text)}, which names no key; {RULE}")
    return text


Constraint = Annotated[str, AfterValidator(_checked)]


def _parts(node: ast.expr) -> Iterator[ast.AST]:
    """The nodes of an expression; a dotted key is one."""
    yield node
    if isinstance(node, ast.Attribute):
        return
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            yield from _parts(child)
        elif not isinstance(child, ast.expr_context):
            yield child


def _is_allowed(node: ast.AST) -> bool:
    match node:
        case ast.Constant(value=value):
            return isinstance(value, (bool, int, float, str))
        case ast.Attribute():
            return _dotted(node) is not None
        case ast.Compare() | ast.BoolOp() | ast.And() | ast.Or() | ast.BinOp() | ast.UnaryOp():
            return True
        case ast.Name(id=name):
            return name in WORDS
        case _:
            return type(node) in ARITHMETIC or type(node) in COMPARISONS


def _dotted(node: ast.expr) -> str | None:
    """``pretrain.epochs``."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return None if before is None else f"{before}.{node.attr}"
    return None


def keys_of(constraint: str) -> list[str]:
    """The dotted keys that it names."""
    body = ast.parse(constraint.strip(), mode="eval").body
    found = [_dotted(node) for node in _parts(body) if isinstance(node, ast.Attribute)]
    return list(dict.fromkeys(key for key in found if key is not None))


def value_at(values: Mapping[str, Any], key: str) -> Any:
    """The value at a dotted key.

    Raises:
        KeyError: there is none.
    """
    found: Any = values
    for step in key.split("."):
        if not isinstance(found, Mapping) or step not in found:
            raise KeyError(key)
        found = found[step]
    return found


def holds(constraint: str, values: Mapping[str, Any]) -> bool:
    """Whether a trial's values keep to a constraint; one over a key that the trial does not have says nothing of it.

    Raises:
        TypeError: its values cannot be compared, as a number and a text; or a number is divided by zero.
    """
    try:
        return bool(_value(ast.parse(constraint.strip(), mode="eval").body, values))
    except _Absent:
        return True
    except ZeroDivisionError as error:
        raise TypeError(str(error)) from None


def _value(node: ast.expr, values: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return WORDS[name]
        case ast.Attribute():
            return _found(node, values)
        case ast.BinOp(left=left, op=op, right=right):
            return ARITHMETIC[type(op)](_value(left, values), _value(right, values))
        case ast.UnaryOp(op=op, operand=operand):
            return ARITHMETIC[type(op)](_value(operand, values))
        case ast.BoolOp(op=op, values=parts):
            each = (bool(_value(part, values)) for part in parts)
            return all(each) if isinstance(op, ast.And) else any(each)
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            sides = [_value(side, values) for side in (left, *comparators)]
            return all(COMPARISONS[type(op)](a, b) for op, a, b in zip(ops, sides, sides[1:], strict=False))
        case _:
            raise AssertionError(f"{ast.dump(node)} was let pass")


def _found(node: ast.expr, values: Mapping[str, Any]) -> Any:
    key = _dotted(node)
    assert key is not None
    try:
        return value_at(values, key)
    except KeyError:
        raise _Absent from None
