"""Flipped bits and cut files: each costs the work since the file before it, with a warning that names the file."""

import io
import zipfile
from collections.abc import Callable

import pytest
from ssl_sweep.evaluation.knn import KnnConfig
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.records import Cost, EvaluationRecord, PretrainRecord
from ssl_sweep.orchestrator.store.trial_folder import TrialStore
from ssl_sweep.orchestrator.store.trial_list import TrialList
from ssl_sweep.orchestrator.store.trial_state import TrialState
from ssl_sweep.orchestrator.store.trial_status import TrialStatus

COST = Cost(seconds=1.5, workers=1, device="cpu")
PRETRAIN = PretrainRecord(cost=COST, epochs=1, final_loss=1.25, images_per_second=1)
KNN = EvaluationRecord(
    name="knn", protocol="knn/lightly@1", settings={"k": 20}, metrics={"top1": 41.9, "top5": 90.0},
    images=1000, split="test", cost=COST,
)  # fmt: skip
Damage = Callable[[bytes], bytes]


def flipped(position: int) -> Damage:
    def flip(content: bytes) -> bytes:
        damaged = bytearray(content)
        damaged[position % len(content)] ^= 4
        return bytes(damaged)

    return flip


DAMAGE: dict[str, Damage] = {
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "cut": lambda content: content[:-3],
    "first bit": flipped(0),
    "a bit": flipped(97),
    "last bit": flipped(-9),
    "zeros": lambda content: bytes(len(content)),
}
damaged = pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)


@pytest.fixture
def folder(store: Store) -> TrialStore:
    made = TrialStore(store, "a")
    made.finish_pretraining(PRETRAIN, bytes(range(256)))
    made.finish_evaluation(KnnConfig(k=(20,)), KNN)
    store.write_record("trials.json", TrialList(trials=()))
    store.write_json("trial.json", {"id": "a", "environment": {"torch": "2.13.0"}, "seeds": [0, 1, 2, 3, 4, 5, 6, 7]})
    return made


READS: dict[str, tuple[str, Callable[[TrialStore], object]]] = {
    "trials/a/pretrain.json": ("the pretraining will be repeated", lambda folder: folder.pretrained()),
    "trials.json": (
        "not known until the next submit",
        lambda folder: folder.store.read_record("trials.json", TrialList),
    ),
    "trial.json": ("counts as absent", lambda folder: folder.store.read_json("trial.json")),
    "evaluations": ("the evaluation will be repeated", lambda folder: folder.evaluation(KnnConfig(k=(20,)))),
    "trials/a/backbone.safetensors": ("the pretraining will be repeated", lambda folder: folder.backbone()),
}


@damaged
@pytest.mark.parametrize("name", READS)
def test_a_damaged_file_counts_as_absent(
    name: str, damage: Damage, folder: TrialStore, caplog: pytest.LogCaptureFixture
) -> None:
    lost, read = READS[name]
    store = folder.store
    if name == "evaluations":
        name = f"trials/a/evaluations/{store.names('trials/a/evaluations')[0]}"
    content = store.read(name)
    assert content is not None
    assert read(folder) is not None
    store.write(name, damage(content))
    assert read(folder) is None
    assert read(folder) is None
    (record,) = caplog.records  # once, however often it is read
    assert record.levelname == "WARNING"
    assert f"{store.path(name)} is damaged (" in record.getMessage()
    assert lost in record.getMessage()


@damaged
def test_a_damaged_state_is_made_again_from_the_records(
    damage: Damage, folder: TrialStore, caplog: pytest.LogCaptureFixture
) -> None:
    store = folder.store
    store.write_json(folder.name("trial.json"), {"dataset_fingerprint": "feedbeef", "environment": {"torch": "2.13.0"}})
    folder.write_status(TrialStatus(state=TrialState.FINISHED, attempts=3))
    content = store.read(folder.name("state.json"))
    assert content is not None
    store.write(folder.name("state.json"), damage(content))
    status = folder.status()
    assert status.pretrain == folder.pretrained()
    assert list(status.evaluations.values()) == [KNN]
    assert (status.dataset_fingerprint, status.environment) == ("feedbeef", {"torch": "2.13.0"})
    assert f"{store.path('trials/a/state.json')} is damaged (" in caplog.text


def test_every_bit_of_a_record_counts(folder: TrialStore) -> None:
    """A flip may leave the content as it was, as in a space or in the name of the checksum; it never changes a number."""
    name = folder.name("pretrain.json")
    content = folder.store.read(name)
    assert content is not None
    whole = folder.pretrained()
    for position in range(0, len(content), 1 if folder.store.is_local else 29):
        folder.store.write(name, flipped(position)(content))
        assert folder.pretrained() in (None, whole)


def test_a_missing_backbone_is_trained_again(folder: TrialStore, caplog: pytest.LogCaptureFixture) -> None:
    folder.store.delete(folder.name("backbone.safetensors"))
    assert folder.pretrained() is None
    assert folder.backbone() is None
    assert f"{folder.store.path('trials/a/backbone.safetensors')} is damaged (it is missing)" in caplog.text
    folder.finish_pretraining(PRETRAIN, b"other")
    assert folder.backbone() == b"other"


def test_a_backbone_of_an_earlier_version_that_was_cut(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    folder = TrialStore(store, "a")
    header = b'{"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"__metadata__":{"timm":"{}"}}'
    whole = len(header).to_bytes(8, "little") + header + b"abcd"
    store.write(folder.name("pretrain.json"), PRETRAIN.model_dump_json().encode())
    store.write(folder.name("backbone.safetensors"), whole)
    assert folder.backbone() == whole
    for cut in (whole[:-1], whole[:40], whole[:5]):
        store.write(folder.name("backbone.safetensors"), cut)
        assert folder.backbone() is None
    assert store.path(folder.name("backbone.safetensors")) in caplog.text


# -- checkpoints --


def checkpoints(store: Store) -> list[str]:
    return [f"trials/a/checkpoints/{name}" for name in store.names("trials/a/checkpoints")]


def spoil(store: Store, name: str, damage: Damage) -> None:
    content = store.read(name)
    assert content is not None
    store.write(name, damage(content))


@damaged
def test_the_checkpoint_before_a_damaged_one_is_taken(
    damage: Damage, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    folder = TrialStore(store, "a")
    states = {step: f"state after {step} steps, ".encode() * 10 for step in (10, 20, 30)}
    for step, state in states.items():
        folder.save_checkpoint(step, state)
    names = checkpoints(store)
    assert len(names) == 2
    assert folder.checkpoint() == states[30]
    spoil(store, names[1], damage)
    assert folder.checkpoint() == states[20]
    assert f"{store.path(names[1])} is damaged (" in caplog.text
    assert "resumes from the checkpoint before it" in caplog.text
    spoil(store, names[0], damage)
    assert folder.checkpoint() is None
    assert f"{store.path(names[0])} is damaged (" in caplog.text
    assert "starts from the beginning" in caplog.text


def test_a_damaged_checkpoint_gives_way_to_new_ones(store: Store) -> None:
    """And not the intact one before it, from which training went on."""
    folder = TrialStore(store, "a")
    for step in (10, 20):
        folder.save_checkpoint(step, b"state" * step)
    spoil(store, checkpoints(store)[1], flipped(3))
    folder.save_checkpoint(15, b"fifteen")
    assert folder.checkpoint() == b"fifteen"
    spoil(store, checkpoints(store)[1], flipped(3))
    assert folder.checkpoint() == b"state" * 10


def archive(content: bytes) -> bytes:
    """As `torch.save` writes it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("archive/data/0", content)
    return file.getvalue()


def test_a_checkpoint_of_an_earlier_version(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    folder = TrialStore(store, "a")
    old = archive(b"weights" * 50)
    store.write(folder.name("checkpoints/last.pt"), old)
    assert folder.checkpoint() == old
    for damage in (flipped(100), DAMAGE["cut"], DAMAGE["empty"]):
        store.write(folder.name("checkpoints/last.pt"), damage(old))
        assert folder.checkpoint() is None
    assert f"{store.path(folder.name('checkpoints/last.pt'))} is damaged (" in caplog.text
    store.write(folder.name("checkpoints/last.pt"), old)
    folder.save_checkpoint(7, b"seven")
    assert folder.checkpoint() == b"seven"
    spoil(store, checkpoints(store)[0], flipped(2))
    assert folder.checkpoint() == old  # kept until there are two that have digests
    folder.save_checkpoint(8, b"eight")
    folder.save_checkpoint(9, b"nine")
    assert folder.name("checkpoints/last.pt") not in checkpoints(store)
    assert len(checkpoints(store)) == 2
