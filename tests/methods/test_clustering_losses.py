"""Losses and mechanisms of the clustering methods, against slow, obvious versions in float64."""

import math
from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from ssl_sweep.methods import METHODS
from ssl_sweep.methods.base import Progress
from ssl_sweep.methods.deepclusterv2 import deepcluster_loss
from ssl_sweep.methods.msn import anchor_loss, cosines, kept_patches, mean_entropy_regularizer, sharpen
from ssl_sweep.methods.parts.kmeans import nearest
from ssl_sweep.methods.parts.masks import ImageDraws
from ssl_sweep.methods.parts.sinkhorn import sinkhorn
from ssl_sweep.methods.pmsn import power_law, prior_divergence
from ssl_sweep.methods.smog import assigned_groups, smog_loss, updated_groups
from ssl_sweep.methods.swav import swav_loss
from tiny import RESNET, VIT, progress, tiny_batch, tiny_method
from torch import Tensor

CPU = torch.device("cpu")


def randn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def cosine(a: Tensor, b: Tensor) -> float:
    return float(a.double() @ b.double() / (a.double().norm() * b.double().norm()))


def softmax(logits: list[float]) -> list[float]:
    total = sum(math.exp(x) for x in logits)
    return [math.exp(x) / total for x in logits]


def test_swav_loss() -> None:
    scores, codes = randn(4, 3, 5), randn(2, 3, 5).softmax(dim=2)
    per_code = []
    for u in range(2):
        terms = []
        for v, i in product({0, 1, 2, 3} - {u}, range(3)):
            p = softmax((scores[v, i].double() / 0.1).tolist())
            terms.append(-sum(q * math.log(x) for q, x in zip(codes[u, i].tolist(), p, strict=True)))
        per_code.append(sum(terms) / len(terms))
    torch.testing.assert_close(swav_loss(scores, codes, 0.1).item(), sum(per_code) / 2, rtol=1e-5, atol=0)


def test_swav_loss_by_hand() -> None:
    # both crops score 1 and 0 at temperature 1, codes are (1, 0): the loss is log(1 + 1 / e)
    scores, codes = torch.tensor([[[1.0, 0.0]]] * 2), torch.tensor([[[1.0, 0.0]]] * 2)
    torch.testing.assert_close(swav_loss(scores, codes, 1.0).item(), math.log(1 + 1 / math.e))


def test_swav_keeps_prototypes_at_unit_length_and_freezes_them_in_the_first_epoch() -> None:
    method: Any = tiny_method("swav", RESNET, prototype_bias=True)
    for step, frozen in ((1, True), (2, False)):
        method(tiny_batch(method), progress(step)).loss.backward()
        method.before_optimizer_step(progress(step))
        assert all((p.grad is None) == frozen for p in method.prototypes.parameters())
        assert method.model.head[0].weight.grad is not None
        method.zero_grad()
    with torch.no_grad():
        method.prototypes.weight.mul_(3.0)
        method.prototypes.bias.fill_(2.0)
    method.after_optimizer_step(progress(2))
    torch.testing.assert_close(method.prototypes.weight.norm(dim=1), torch.ones(12))
    assert (method.prototypes.bias == 2.0).all()


def test_swav_has_no_bias_and_no_queue_unless_asked() -> None:
    method: Any = tiny_method("swav", VIT, queue_size=0)
    assert method.prototypes.bias is None and not len(method.queues)
    assert method(tiny_batch(method), progress(4)).loss.isfinite()


def test_swav_codes_use_the_queue_of_their_crop_from_its_epoch_on() -> None:
    method: Any = tiny_method("swav", VIT, queue_size=8, queue_start_epoch=1)
    scores = randn(2, 4, 12)
    alone = torch.stack([sinkhorn(one, 0.05, 3) for one in scores])
    torch.testing.assert_close(method._codes(scores, progress(1)), alone)
    stored = [queue.rows @ method.prototypes.weight.T for queue in method.queues]
    both = [sinkhorn(torch.cat([one, old]), 0.05, 3)[:4] for one, old in zip(scores, stored, strict=True)]
    torch.testing.assert_close(method._codes(scores, progress(2)), torch.stack(both))
    assert not torch.allclose(torch.stack(both), alone)


def test_swav_queues_hold_the_embeddings_of_the_global_crops() -> None:
    method: Any = tiny_method("swav", VIT, queue_size=8)
    method.eval()  # batch statistics would mix the crops
    batch = tiny_batch(method)
    before = [queue.rows[4:].clone() for queue in method.queues]
    method(batch, progress(0))
    for queue, view, rest in zip(method.queues, batch.global_views, before, strict=True):
        torch.testing.assert_close(queue.rows[:4], F.normalize(method.model(view.image), dim=1))
        assert torch.equal(queue.rows[4:], rest)


def test_deepcluster_loss_skips_unknown_samples() -> None:
    scores, targets = randn(2, 3, 4, 5), torch.tensor([[0, -1, 3, 4], [2, -1, 1, 0]])
    per_clustering = []
    for h in range(2):
        known = [(v, i) for v in range(3) for i in range(4) if targets[h, i] >= 0]
        p = {(v, i): softmax((scores[h, v, i].double() / 0.1).tolist()) for v, i in known}
        terms = [-math.log(p[v, i][int(targets[h, i])]) for v, i in known]
        per_clustering.append(sum(terms) / len(terms))
    loss = deepcluster_loss(scores, targets, 0.1).item()
    torch.testing.assert_close(loss, sum(per_clustering) / 2, rtol=1e-5, atol=0)


def test_deepcluster_loss_without_known_samples_is_a_zero_with_gradients() -> None:
    scores = randn(2, 3, 4, 5).requires_grad_()
    loss = deepcluster_loss(scores, torch.full((2, 4), -1), 0.1)
    (gradient,) = torch.autograd.grad(loss, scores)
    assert loss == 0 and not gradient.any()


def test_deepcluster_fills_its_memory_and_clusters_it_after_each_epoch() -> None:
    method: Any = tiny_method("deepclusterv2", VIT, num_clusterings=3)
    batches = [tiny_batch(method, seed=step) for step in range(2)]
    for step, batch in enumerate(batches):
        assert method(batch, progress(step)).loss == 0
        assert (method.assignments == -1).all()
        method.after_optimizer_step(progress(step))
    seen = torch.cat([batch.samples for batch in batches]).unique()
    assert torch.equal(method.seen.nonzero().squeeze(1), seen)
    unseen = [i for i in range(40) if i not in seen.tolist()]
    assert (method.assignments[:, unseen] == -1).all()
    torch.testing.assert_close(method.memory[seen].norm(dim=2), torch.ones(len(seen), 2))
    for h in range(3):  # the clusterings take the crops by turns
        assert torch.equal(method.assignments[h, seen], nearest(method.memory[seen, h % 2], method.prototypes[h]))
    assert method(batches[0], progress(2)).loss > 0
    assert not any(key.startswith("prototypes") for key, _ in method.named_parameters())


def test_deepcluster_remembers_each_global_crop_under_its_sample() -> None:
    method: Any = tiny_method("deepclusterv2", VIT)
    method.eval()  # batch statistics would mix the crops
    batch = tiny_batch(method)
    method(batch, progress(0))
    for crop, view in enumerate(batch.global_views):
        z = F.normalize(method.model(view.image), dim=1)
        for i, sample in enumerate(batch.samples.tolist()):
            torch.testing.assert_close(method.memory[sample, crop], z[i])


def slow_update(z: Tensor, groups: Tensor, momentum: float) -> list[Tensor]:
    updated = []
    nearest_groups = [max(range(len(groups)), key=lambda c: cosine(row, groups[c])) for row in z]
    for c, group in enumerate(groups.double()):
        members = [row.double() for row, own in zip(z, nearest_groups, strict=True) if own == c]
        updated.append(momentum * group + (1 - momentum) * sum(members) / len(members) if members else group)
    return updated


def test_smog_groups_move_towards_their_members_and_pass_the_gradient() -> None:
    z, groups = randn(6, 4).requires_grad_(), 3 * randn(7, 4)
    updated = updated_groups(z, groups, 0.9)
    torch.testing.assert_close(updated, torch.stack(slow_update(z.detach(), groups, 0.9)).float())
    assert any(torch.equal(a, b) for a, b in zip(updated, groups, strict=True))  # one group has no members
    updated.sum().backward()
    members = torch.bincount(assigned_groups(z, groups), minlength=7)
    expected = torch.stack([(0.1 / members[c]).expand(4) for c in assigned_groups(z, groups)])
    torch.testing.assert_close(z.grad, expected)


def test_smog_loss() -> None:
    prediction, groups, target = randn(5, 3), randn(4, 3), torch.tensor([0, 3, 3, 1, 2])
    p = [softmax([cosine(row, group) / 0.1 for group in groups]) for row in prediction]
    terms = [-math.log(p[i][t]) for i, t in enumerate(target.tolist())]
    torch.testing.assert_close(smog_loss(prediction, target, groups, 0.1).item(), sum(terms) / 5, rtol=1e-5, atol=0)


def test_smog_targets_are_the_other_views_groups_before_the_update_and_views_swap() -> None:
    for step in (0, 1):
        method: Any = tiny_method("smog", VIT, group_momentum=0.5)
        method.eval()  # batch statistics differ between calls
        batch, old = tiny_batch(method), method.groups.clone()
        own, other = (batch.global_views[i].image for i in ((0, 1) if step == 0 else (1, 0)))
        loss = method(batch, progress(step)).loss
        z, target = method.student(own), assigned_groups(method.teacher(other), old)
        groups = updated_groups(z, old, 0.5)
        torch.testing.assert_close(loss, smog_loss(method.predictor(z), target, groups, 0.1))
        torch.testing.assert_close(method.groups, groups.detach())
        torch.testing.assert_close(method.queue.rows[:4], z.detach())


def test_smog_resets_groups_and_teacher() -> None:
    method: Any = tiny_method("smog", VIT, reset_every=2, kmeans_iterations=2)
    student, teacher = (list(part.parameters()) for part in (method.student, method.teacher.module))
    with torch.no_grad():
        student[-1].add_(1.0)
    before = method.groups.clone()
    method.after_optimizer_step(progress(0))
    assert torch.equal(method.groups, before) and not torch.equal(teacher[-1], student[-1])
    method.after_optimizer_step(progress(1))
    assert not torch.equal(method.groups, before)
    assert all(torch.equal(t, s) for t, s in zip(teacher, student, strict=True))
    torch.testing.assert_close(method.groups.norm(dim=1), torch.ones(6))
    assert len(nearest(F.normalize(method.queue.rows, dim=1), method.groups).unique()) > 1


def test_fewer_rows_than_clusters_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match="each of the 41 prototypes, but the data set has 40"):
        tiny_method("deepclusterv2", VIT, num_prototypes=41)
    with pytest.raises(ValueError, match="300 embeddings or more, but `queue_size` is 256"):
        METHODS["smog"](num_groups=300, queue_size=256)


def slow_mean(log_p: Tensor) -> list[float]:
    everything = log_p.double().exp().flatten(0, 1)
    return [float(sum(row[k] for row in everything)) / len(everything) for k in range(everything.shape[1])]


def test_msn_loss() -> None:
    z, prototypes, target = randn(3, 4, 5), randn(6, 5), randn(4, 6).softmax(dim=1)
    log_p = (cosines(z, prototypes) / 0.1).log_softmax(dim=2)
    terms = []
    for a, i in product(range(3), range(4)):
        p = softmax([cosine(z[a, i], prototype) / 0.1 for prototype in prototypes])
        terms.append(-sum(t * math.log(x) for t, x in zip(target[i].tolist(), p, strict=True)))
    torch.testing.assert_close(anchor_loss(log_p, target).item(), sum(terms) / 12, rtol=1e-5, atol=0)
    entropy = -sum(p * math.log(p) for p in slow_mean(log_p))
    torch.testing.assert_close(mean_entropy_regularizer(log_p).item(), math.log(6) - entropy, rtol=1e-4, atol=1e-6)


def test_msn_targets_by_hand() -> None:
    logits = torch.tensor([[math.log(3), 0.0]])  # p = (3/4, 1/4): its squares, normalised, are (9/10, 1/10)
    torch.testing.assert_close(sharpen(logits, 0.5, 0), torch.tensor([[0.9, 0.1]]))
    balanced = sharpen(randn(8, 4), 0.25, 3)
    torch.testing.assert_close(balanced, sinkhorn((4 * randn(8, 4)).log_softmax(dim=1), 1.0, 3))
    torch.testing.assert_close(balanced.sum(dim=1), torch.ones(8))


def test_pmsn_divergences() -> None:
    log_p = randn(2, 3, 4).log_softmax(dim=2)
    prior = [k**-0.25 / sum(j**-0.25 for j in range(1, 5)) for k in range(1, 5)]
    pairs = list(zip(slow_mean(log_p), prior, strict=True))
    expected = {
        "prediction-prior": sum(p * math.log(p / q) for p, q in pairs),
        "prior-prediction": sum(q * math.log(q / p) for p, q in pairs),
        "prior-prediction-linear": sum(q * (math.log(q) - p) for p, q in pairs),
    }
    for kind, value in expected.items():
        found = prior_divergence(log_p, power_law(4, 0.25, CPU), kind).item()
        torch.testing.assert_close(found, value, rtol=1e-4, atol=1e-6)


def test_pmsn_with_a_uniform_prior_is_msn() -> None:
    log_p = randn(2, 3, 4).log_softmax(dim=2)
    uniform = prior_divergence(log_p, power_law(4, 0.0, CPU), "prediction-prior")
    torch.testing.assert_close(uniform, mean_entropy_regularizer(log_p))
    batch = tiny_batch(tiny_method("msn"))
    msn = tiny_method("msn", sinkhorn_iterations=0)(batch, progress(4)).loss
    pmsn = tiny_method("pmsn", prior_exponent=0.0)(batch, progress(4)).loss
    torch.testing.assert_close(msn, pmsn)


def test_msn_draws_new_patches_for_each_view_and_image() -> None:
    def draw(step: int) -> Tensor:
        return kept_patches(2, 16, 0.15, ImageDraws(3, Progress(step, 10, 5)), CPU)

    keep = draw(0)
    assert keep.shape == (6, 13)  # 16 x 0.85 = 13.6
    assert all(len(set(one.tolist())) == 13 for one in keep)
    assert len({tuple(sorted(one.tolist())) for one in keep}) == 6
    assert torch.equal(keep, draw(0)) and not torch.equal(keep, draw(1))
    with pytest.raises(ValueError, match="leaves none of 4"):
        kept_patches(1, 4, 0.9, ImageDraws(1, progress(0)), CPU)


@pytest.mark.parametrize(("mask_local_views", "lengths"), [(False, [13]), (True, [13, 7])])
def test_msn_masks_anchors_alone(mask_local_views: bool, lengths: list[int]) -> None:
    method: Any = tiny_method("msn", mask_local_views=mask_local_views)
    kept: list[int] = []
    tokens = method.student.encoder.tokens
    method.student.encoder.tokens = lambda image, keep: kept.append(keep.shape[1]) or tokens(image, keep=keep)
    method(tiny_batch(method), progress(0))
    assert kept == lengths


@pytest.mark.parametrize("name", ["msn", "pmsn"])
def test_msn_shows_the_teacher_and_prototypes_learn_without_decay_or_not_at_all(name: str) -> None:
    method: Any = tiny_method(name)
    assert method.backbone is method.teacher.module.encoder
    matrices, vectors = method.param_groups()
    assert any(p is method.prototypes for p in vectors["params"])
    assert not any(p is method.prototypes for p in matrices["params"])
    fixed: Any = tiny_method(name, train_prototypes=False)
    fixed(tiny_batch(fixed), progress(0)).loss.backward()
    assert fixed.prototypes.grad is None
    assert not any(p is fixed.prototypes for group in fixed.param_groups() for p in group["params"])


@pytest.mark.parametrize("name", ["msn", "pmsn"])
def test_msn_refuses_a_resnet(name: str) -> None:
    with pytest.raises(ValueError, match=f"method '{name}' needs a ViT"):
        tiny_method(name, RESNET)
