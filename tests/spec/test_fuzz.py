"""Whatever a file holds, it is a valid sweep or a list of errors with their places."""

import random
from pathlib import Path

from ssl_sweep.orchestrator.spec.errors import SpecError
from ssl_sweep.orchestrator.spec.expand import expand
from ssl_sweep.orchestrator.spec.load import load_spec

MUTATIONS = 300
SKETCH = Path(__file__).with_name("sketch.yaml").read_bytes()
NUMBERS = Path(__file__).with_name("own_numbers.csv")
WORDS = (
    rb"null true -1 0 1e999 .nan '' [] {} [[]] {a:1} *x &x !!int << - ? : # | > % @ '\ud800' --- name linear dataset"
    rb" backbone method.views pretrain.optimizer dataset.path vit_tiny"
)
TOKENS = [*WORDS.split(), b"\t", b"\r", b"\n", b"\n---\n", b"\xff", b"\xc2\x85", b'"\\ud800"']


def mutated(draw: random.Random) -> bytes:
    content = SKETCH
    for _ in range(draw.randint(1, 4)):
        lines = content.split(b"\n")
        i, j = draw.randrange(len(lines)), draw.randrange(len(lines))
        at = draw.randrange(len(content))
        kind = draw.randrange(8)
        if kind == 0:
            del lines[i]
        elif kind == 1:
            lines.insert(i, lines[j])
        elif kind == 2:
            lines[i] = lines[j]
        elif kind == 3:
            words = lines[i].split(b" ")
            words[draw.randrange(len(words))] = draw.choice(TOKENS)
            lines[i] = b" ".join(words)
        elif kind == 4:
            key, colon, _ = lines[i].partition(b": ")
            lines[i] = key + colon + draw.choice(TOKENS)
        if kind < 5:
            content = b"\n".join(lines)
        elif kind == 5:
            content = content[:at] + content[at + draw.randint(1, 4) :]
        elif kind == 6:
            content = content[:at] + bytes([draw.randrange(256)]) + content[at + 1 :]
        else:
            content = content[:at] + draw.choice(TOKENS) + content[at:]
    return content


def test_a_sweep_or_its_errors(tmp_path: Path) -> None:
    draw = random.Random(0)
    path = tmp_path / "sweep.yaml"
    (tmp_path / NUMBERS.name).write_bytes(NUMBERS.read_bytes())
    valid = 0
    for _ in range(MUTATIONS):
        content = mutated(draw)
        path.write_bytes(content)
        try:
            expand(*load_spec(path))
            valid += 1
        except SpecError as error:
            lines = content.count(b"\n") + content.count(b"\r") + content.count(b"\xc2\x85") + 1
            assert error.problems
            for problem in error.problems:
                assert 1 <= problem.position[0] <= lines + 1
                assert problem.position[1] >= 1
                assert problem.message.isprintable(), problem.message
    assert 0 < valid < MUTATIONS  # else the mutations try nothing
