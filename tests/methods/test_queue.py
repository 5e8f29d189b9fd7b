"""The queue: the newest rows of all ranks, the oldest ones leave first."""

import pytest
import torch
from ranks import Ranks
from ssl_sweep.methods.parts.collectives import own_rows
from ssl_sweep.methods.parts.queue import Queue
from torch import Tensor


def numbered(start: int, stop: int) -> Tensor:
    return torch.arange(float(start), float(stop))[:, None]


def held(queue: Queue) -> list[float]:
    """Rows of width 1 from the oldest to the newest."""
    return queue.rows.roll(-int(queue.position), dims=0).flatten().tolist()


def test_starts_with_random_rows_of_length_one_that_are_saved() -> None:
    queue = Queue(5, 3)
    torch.testing.assert_close(queue.rows.norm(dim=1), torch.ones(5))
    assert set(queue.state_dict()) == {"rows", "position"}
    assert not list(queue.parameters())


def test_the_oldest_rows_leave_first() -> None:
    queue = Queue(5, 1)
    queue.push(numbered(0, 3))
    assert queue.rows[:3].flatten().tolist() == [0, 1, 2]
    queue.push(numbered(3, 7))  # past the end
    assert held(queue) == [2, 3, 4, 5, 6]
    assert queue.position.item() == 2


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 12])
@pytest.mark.parametrize("batch_size", [1, 2, 3, 5])
def test_many_pushes_of_any_size(size: int, batch_size: int) -> None:
    queue = Queue(size, 1)
    pushed: list[float] = []
    for start in range(0, 12 * batch_size, batch_size):
        queue.push(numbered(start, start + batch_size))
        pushed += range(start, start + batch_size)
        if len(pushed) >= size:
            assert held(queue) == pushed[-size:]


def test_a_batch_that_fills_it_exactly() -> None:
    queue = Queue(4, 1)
    queue.push(numbered(0, 4))
    assert held(queue) == [0, 1, 2, 3]
    assert queue.position.item() == 0


def test_keeps_its_own_numbers_without_gradient() -> None:
    queue = Queue(4, 2)
    rows = torch.ones(2, 2, dtype=torch.bfloat16, requires_grad=True)
    queue.push(rows * 2)
    assert queue.rows.dtype == torch.float32 and not queue.rows.requires_grad
    assert queue.rows[:2].eq(2).all()


def test_resumes_where_it_was() -> None:
    whole, first, second = (Queue(5, 1) for _ in range(3))
    for queue in (whole, first):
        queue.push(numbered(0, 7))
    second.load_state_dict(first.state_dict())
    for queue in (whole, second):
        queue.push(numbered(7, 9))
    assert held(whole) == held(second) == [4, 5, 6, 7, 8]


def push_own_rows() -> list[Tensor]:
    torch.manual_seed(0)
    queue = Queue(6, 1)
    seen = []
    for start in range(0, 12, 4):
        queue.push(own_rows(numbered(start, start + 4)))
        seen.append(queue.rows.clone())
    return [*seen, queue.position]


def test_two_ranks_hold_what_one_would(ranks: Ranks) -> None:
    first, second = ranks.run(push_own_rows)
    for one, two, whole in zip(first, second, push_own_rows(), strict=True):
        assert torch.equal(one, two) and torch.equal(one, whole)
