"""Whatever is wrong with a run folder, one InputError says what and where."""

import json
import os
import shutil
import struct
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from cckeras.errors import InputError
from cckeras.runs import files
from cckeras.runs.environment import environment
from cckeras.runs.records import (
    FORMAT,
    LAST,
    PROBE,
    RUN,
    TASK,
    WEIGHTS,
    RunRecords,
)
from cckeras.runs.run import Run
from cckeras.runs.verify import verify_run
from tests.runs import tiny
from tests.runs.small import (
    MISSING,
    change_record,
    contents,
    copy_run,
    flip_bit,
    forge,
    states,
    writable,
)

FIRST, SECOND = (f"tasks/{task.folder}" for task in tiny.TASKS[:2])
HUGE = 1 << 40


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A run of two tasks without networks."""
    path = tmp_path_factory.mktemp("good") / "run"
    run = tiny.new_run(path)
    for task in tiny.TASKS[:2]:
        tiny.commit(run, task)
    return path


@pytest.fixture
def path(good, tmp_path):
    """A copy of it that may be damaged."""
    return writable(copy_run(good, tmp_path / "run"))


def fails(path, message) -> None:
    """Assert that opening raises an InputError, and changes nothing."""
    before = states(path) if path.is_dir() else None
    with pytest.raises(InputError, match=message) as caught:
        RunRecords.open(path)
    text = str(caught.value)
    assert text.startswith("Expected")
    assert "Received: " in text
    assert text.endswith(".")
    if before is not None:
        assert states(path) == before


def test_a_good_run_opens(path):
    run = RunRecords.open(path)
    assert [task.name for task in run.tasks] == ["first", "second"]
    assert run.settings["format"] == FORMAT
    assert run.folder("second") == path / SECOND
    probe = run.probe("second")
    assert probe.images.shape == (2, 16, 16, 3)
    np.testing.assert_array_equal(probe.logits, 2 * np.ones((2, 2)))
    with pytest.raises(InputError, match=r"'secnd'.*Did you mean 'second'"):
        run.record("secnd")


def test_a_run_without_tasks_opens(tmp_path):
    tiny.new_run(tmp_path / "run")
    assert RunRecords.open(tmp_path / "run").records == []


@pytest.mark.parametrize("name", ["missing", "file", "empty", "others"])
def test_what_is_no_run(tmp_path, name):
    (tmp_path / "file").write_text("text")
    (tmp_path / "empty").mkdir()
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "photo.jpg").write_text("text")
    fails(tmp_path / name, f"run folder.*{name}.*--run_dir")


def remove(path):
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def empty(path):
    path.write_bytes(b"")


def halve(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def garble(path):
    path.write_bytes(b"\x80\xff garbage")


def replace(content, path):
    path.write_bytes(content)


def nest(path):
    path.write_bytes(b'{"a":' * 100_000)


def enlarge(path):
    os.truncate(path, HUGE)


def make_folder(path):
    path.unlink()
    path.mkdir()


def make_pipe(path):
    path.unlink()
    os.mkfifo(path)


def make_endless(path):
    path.unlink()
    path.symlink_to("/dev/zero")


def unseal(path):
    record = json.loads(path.read_bytes())
    del record["seal"]
    path.write_bytes(files.dump_json(record))


def seal_of_another(path):
    record = json.loads(path.read_bytes())
    record["seal"] = "0" * 64
    path.write_bytes(files.dump_json(record))


DAMAGES = (
    remove,
    empty,
    halve,
    garble,
    partial(replace, b"[]"),
    partial(replace, b"{}"),
    partial(replace, b"null"),
    nest,
    enlarge,
    make_folder,
    make_pipe,
    make_endless,
    unseal,
    seal_of_another,
)


@pytest.mark.parametrize("name", [RUN, f"{FIRST}/{TASK}", f"{SECOND}/{TASK}"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_records_are_named(path, name, damage):
    damage(path / name)
    fails(path, name)


def change_seal_kept(**changes):
    def damage(path):
        record = {**json.loads(path.read_bytes()), **changes}
        path.write_bytes(files.dump_json(record))

    return damage


def test_every_field_is_under_the_seal(good, path):
    for name in (RUN, f"{FIRST}/{TASK}", f"{SECOND}/{TASK}"):
        content = (good / name).read_bytes()
        for field, value in json.loads(content).items():
            other = value + 1 if isinstance(value, int) else [value]
            if isinstance(value, str):
                other = value[::-1]
            if isinstance(value, dict):
                other = {**value, "more": 1}
            change_seal_kept(**{field: other})(path / name)
            fails(path, name)
            (path / name).write_bytes(content)
    assert RunRecords.open(path).records == RunRecords.open(good).records


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": FORMAT + 1}, f"format {FORMAT + 1}. Upgrade cckeras"),
        ({"format": 10**30}, "Upgrade cckeras"),
        ({"format": 0}, "'format'"),
        ({"format": "1"}, "'format'"),
        ({"format": MISSING}, "'format'"),
        ({"id": "x"}, "'id'"),
        ({"config": {}}, "'config'"),
        ({"config": []}, "'config'"),
        ({"method": 5}, "'method'"),
    ],
)
def test_forged_settings(path, changes, message):
    change_record(path / RUN, **changes)
    fails(path, f"{RUN}.*{message}")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("mean", None),
        ("backbone", "vgg"),
        ("image_size", 10**9),
        ("std", [0, 0, 0]),
        ("surprise", 1),
    ],
)
def test_forged_recipes(path, key, value):
    config = json.loads((path / RUN).read_bytes())["config"]
    config[key] = value
    if value is None:
        del config[key]
    change_record(path / RUN, config=config)
    fails(path, f"{RUN}.*{key}")


TRICKS = (
    "..",
    ".",
    "",
    "../first",
    "/etc",
    "a/b",
    "a\\b",
    "a\n",
    "a\0b",
    "first",
    "a@where",
    "a|b",
    "a,b",
    "\udcff",
    "x" * 300,
)


@pytest.mark.parametrize("name", TRICKS, ids=range(len(TRICKS)))
def test_names_that_trick_paths(path, name):
    """Even where a folder of that name can be made."""
    change_record(path / SECOND / TASK, name=name, uses=[name or "x"])
    folder = path / "tasks" / f"02-{name}"
    try:
        (path / SECOND).rename(folder)
    except (OSError, ValueError):
        folder = path / SECOND
    (path / LAST).write_bytes(os.fsencode(folder.name) + b"\n")
    with pytest.raises(InputError, match=f"{TASK}|{LAST}"):
        RunRecords.open(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"number": 1},
        {"number": 3},
        {"number": -2},
        {"number": "2"},
        {"name": "other"},
        {"classes": ["one"]},
        {"classes": MISSING},
        {"uses": []},
        {"files": {}},
        {"files": {WEIGHTS: "0" * 64}},
        {"files": {WEIGHTS: "0" * 64, PROBE: "short"}},
        {"files": {WEIGHTS: "0" * 64, PROBE: "0" * 64, "../LAST": "0" * 64}},
        {"digest": "0" * 63},
        {"environment": {}},
        {"environment": {**tiny.ENVIRONMENT, "threads": "all"}},
        {"environment": {**tiny.ENVIRONMENT, "threads": 10**12}},
        {"metrics": {}},
        {"metrics": {"validation_accuracy": "good", "test_accuracy": None}},
    ],
    ids=str,
)
def test_forged_task_records(path, changes):
    change_record(path / SECOND / TASK, **changes)
    fails(path, f"{SECOND}/{TASK}")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"02-other\n",
        b"02\n",
        b"..\n",
        b"/etc\n",
        b"../tasks/02-second\n",
        "²-second".encode(),
        b"9" * 5000,
        b"\xff\xfe",
        b"01-first\n02-second\n",
    ],
    ids=range(11),
)
def test_a_last_file_that_names_no_task(path, content):
    (path / LAST).write_bytes(content)
    fails(path, LAST)


@pytest.mark.parametrize(
    "damage", [enlarge, make_folder, make_pipe, make_endless]
)
def test_a_last_file_that_is_none(path, damage):
    damage(path / LAST)
    fails(path, LAST)


@pytest.mark.parametrize("protected", [True, False])
def test_a_missing_last_file_is_no_empty_run(good, path, protected):
    """The next training would delete every task."""
    if protected:
        path = copy_run(good, path.with_name("protected"))
    (path / LAST).unlink()
    fails(path, f"{LAST} to name the last folder.*0[12]-.*Restore {LAST}")


def test_a_missing_last_file_after_one_task(tmp_path):
    path = tmp_path / "run"
    tiny.commit(tiny.new_run(path), tiny.TASKS[0])
    (path / LAST).unlink()
    fails(path, f"{LAST} to name the last folder.*01-first.*Restore {LAST}")
    (path / FIRST).chmod(0o755)  # As it is before LAST is written first.
    assert RunRecords.open(path).records == []
    assert RunRecords.open(path).uncommitted() == [path / FIRST]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tasks: shutil.rmtree(tasks), LAST),
        (lambda tasks: shutil.rmtree(tasks / "01-first"), "folder of task 1"),
        (lambda tasks: shutil.rmtree(tasks / "02-second"), LAST),
        (lambda tasks: (tasks / "01-first").rename(tasks / "01-1st"), "01-1st"),
        (lambda tasks: (tasks / "01-first").rename(tasks / "first"), "task 1"),
        (
            lambda tasks: (tasks / "01-first").rename(tasks / "1-first"),
            "task 1",
        ),
        (
            lambda tasks: shutil.copytree(tasks / "01-first", tasks / "01-1st"),
            "one folder of task 1.*01-1st.*01-first",
        ),
        (
            lambda tasks: shutil.copytree(tasks / "01-first", tasks / "04-x"),
            f"{LAST} to name the last folder.*04-x",
        ),
        (
            lambda tasks: (
                (tasks / "01-first").rename(tasks / "x"),
                (tasks / "02-second").rename(tasks / "01-first"),
                (tasks / "x").rename(tasks / "02-second"),
            ),
            "01-first/task.json to describe '01-first'.*'02-second'",
        ),
    ],
    ids=range(9),
)
def test_wrong_folders(path, change, message):
    change(path / "tasks")
    fails(path, message)


def test_other_files_in_the_folders_are_left_alone(path):
    for folder in (path, path / "tasks", path / "training"):
        (folder / "notes.txt").write_text("mine")
        (folder / "03-notes.txt").write_text("mine")
        (folder / ".DS_Store").write_text("theirs")
    assert len(RunRecords.open(path).records) == 2
    assert RunRecords.open(path).uncommitted() == []


def test_a_task_committed_while_a_run_is_opened_is_no_damage(path, monkeypatch):
    """The reader has read LAST; before it lists the folders, the writer
    commits."""
    real, calls = files.read, []

    def read(name):
        content = real(name)
        if name == path / LAST and not calls:
            calls.append(name)
            tiny.commit(Run.open(path), tiny.TASKS[2])
        return content

    monkeypatch.setattr(files, "read", read)
    assert len(RunRecords.open(path).records) == 2
    assert len(RunRecords.open(path).records) == 3


def problem_of(path) -> str | None:
    try:
        RunRecords.open(path)
    except InputError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", [RUN, LAST, f"{FIRST}/{TASK}"])
def test_one_flipped_bit_in_any_byte_of_a_record(good, path, name):
    """Equal content, as E for e in a number, is no damage."""
    expected = RunRecords.open(good)
    content = (good / name).read_bytes()
    rng = np.random.default_rng(len(name))
    found = 0
    for byte in range(len(content)):
        flip_bit(path / name, 8 * byte + int(rng.integers(8)))
        problem = problem_of(path)
        if problem is None:
            run = RunRecords.open(path)
            assert run.settings == expected.settings, byte
            assert run.records == expected.records, byte
        else:
            assert str(path / name) in problem, byte
            found += 1
        (path / name).write_bytes(content)
    assert found >= len(content) - 2


# From here on with networks.


def here():
    return environment(0)


def outcome(path) -> str | None:
    """Return what opening, loading or verifying a run finds, None if all is
    well; it must not end in another way."""
    try:
        run = Run.open(path)
        verdicts = list(verify_run(run, here()))
    except InputError as error:
        return str(error)
    failed = [verdict for verdict in verdicts if not verdict.holds]
    return "; ".join(str(verdict) for verdict in failed) or None


@pytest.fixture
def networks(learned, tmp_path):
    """A copy of a run of two real tasks, to be damaged."""
    return writable(copy_run(learned, tmp_path / "networks"))


def test_nothing_is_wrong_with_a_copy(networks):
    assert outcome(networks) is None


def test_one_flipped_bit_anywhere_in_a_run_is_found_and_named(
    learned, networks
):
    """Headers, tensors and ends of files among them."""
    rng = np.random.default_rng(8)
    for name, content in contents(learned).items():
        bits = 8 * len(content)
        positions = {3, bits - 1, *rng.integers(8 * 64, size=2)}
        positions |= set(rng.integers(bits, size=3))
        for position in sorted(int(p) % bits for p in positions):
            flip_bit(networks / name, position)
            found = outcome(networks)
            if found is None:
                same = (Run.open(networks), Run.open(learned))
                assert same[0].settings == same[1].settings, (name, position)
                assert same[0].records == same[1].records, (name, position)
                assert name == LAST or name.endswith(".json")
            else:
                assert str(networks / name) in found, (name, position)
            (networks / name).write_bytes(content)
    assert outcome(networks) is None


ONE, TWO = "tasks/01-zero_one", "tasks/02-two_three"


@pytest.mark.parametrize("name", [WEIGHTS, PROBE])
@pytest.mark.parametrize(
    "damage",
    [remove, empty, halve, enlarge, make_folder, make_pipe, make_endless],
)
def test_damaged_tensors_are_named(networks, name, damage):
    if damage is enlarge:  # As far as reading it all takes a moment.
        damage = partial(os.truncate, length=1 << 28)
    damage(networks / TWO / name)
    assert f"{networks / TWO / name}" in outcome(networks)
    run = Run.open(networks)
    with pytest.raises(InputError, match=f"{TWO}/{name}"):
        run.load() if name == WEIGHTS else run.probe("two_three")


def with_header(length, header=b"{}", data=b""):
    return struct.pack("<Q", length) + header + data


def one_tensor(dtype, shape, size, end=None):
    header = json.dumps(
        {
            "x": {
                "dtype": dtype,
                "shape": shape,
                "data_offsets": [0, end or size],
            }
        }
    ).encode()
    return with_header(len(header), header, bytes(size))


FOREIGN = {
    "empty": b"",
    "short": b"\0" * 7,
    "text": b"not tensors",
    "pickle": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
    "zip": b"PK\x03\x04" + bytes(100),
    "no tensors": with_header(2),
    "header longer than the file": with_header(1000),
    "header of an exabyte": with_header(1 << 60),
    "header of the largest number": with_header(2**64 - 1),
    "header of zeros": with_header(8, bytes(8)),
    "header is a list": with_header(2, b"[]"),
    "header nests": with_header(10**6, b'{"a":' * 200_000),
    "other tensor": one_tensor("F32", [2], 8),
    "beyond the end": one_tensor("F32", [2], 8, end=800),
    "shape of 2**63": one_tensor("F32", [2**62, 2], 8),
    "negative shape": one_tensor("F32", [-2], 8),
    "unknown type": one_tensor("F99", [2], 8),
    "8 bit floats": one_tensor("F8_E4M3", [8], 8),
    "bfloat16": one_tensor("BF16", [4], 8),
    "a hole in the data": one_tensor("F32", [1], 8, end=4),
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_foreign_files_whose_hashes_agree(networks, path, content):
    forge(networks / TWO, WEIGHTS, content)
    with pytest.raises(InputError, match=f"{TWO}/{WEIGHTS}"):
        Run.open(networks).load()
    forge(path / SECOND, PROBE, content)
    with pytest.raises(InputError, match=f"{SECOND}/{PROBE}"):
        RunRecords.open(path).probe("second")


def change_tensors(path, **changes):
    tensors = {**load(path.read_bytes()), **changes}
    return save({k: v for k, v in tensors.items() if v is not None})


KERNEL = "two_three/conv1/expert"


@pytest.mark.parametrize(
    "change",
    [
        {KERNEL: None},
        {KERNEL: np.zeros((3, 3, 3, 63), np.float32)},
        {KERNEL: np.zeros((64, 3, 3, 3), np.float32)},
        {KERNEL: np.zeros((3, 3, 3, 64), np.float64)},
        {KERNEL: np.zeros((3, 3, 3, 64), np.int32)},
        {KERNEL: np.zeros((3, 3, 3, 64), bool)},
        {"zero_one/conv1/expert": np.zeros((3, 3, 3, 64), np.float32)},
        {"more": np.zeros(1, np.float32)},
    ],
    ids=range(8),
)
def test_other_tensors_whose_hashes_agree(networks, change):
    content = change_tensors(networks / TWO / WEIGHTS, **change)
    forge(networks / TWO, WEIGHTS, content)
    assert f"{networks / TWO / WEIGHTS}" in outcome(networks)
    with pytest.raises(InputError, match=f"{TWO}/{WEIGHTS}"):
        Run.open(networks).load()


@pytest.mark.parametrize(
    "change",
    [
        {"images": None},
        {"logits": None},
        {"images": np.zeros((16, 8, 8, 3), np.float32)},
        {"images": np.zeros((16, 16, 16, 3), np.uint8)},
        {"images": np.zeros((16, 16, 16, 1), np.float32)},
        {"images": np.zeros(5, np.float32)},
        {"images": np.zeros((), np.float32)},
        {"logits": np.zeros((16, 3), np.float32)},
        {"logits": np.zeros((15, 2), np.float32)},
        {"logits": np.zeros((16, 2), np.float64)},
        {
            "images": np.zeros((0, 16, 16, 3), np.float32),
            "logits": np.zeros((0, 2), np.float32),
        },
    ],
    ids=range(11),
)
def test_other_probes_whose_hashes_agree(networks, change):
    content = change_tensors(networks / TWO / PROBE, **change)
    forge(networks / TWO, PROBE, content)
    with pytest.raises(InputError, match=f"{TWO}/{PROBE}"):
        Run.open(networks).probe("two_three")
    assert f"{networks / TWO / PROBE}" in outcome(networks)


@pytest.mark.parametrize(
    "changes",
    [
        {"structure": {"experts": ["nobody"]}},
        {"structure": {"experts": ["two_three"]}},
        {"structure": {"experts": ["zero_one", "zero_one"]}},
        {"structure": {"experts": []}},
        {"structure": {"experts": 5}},
        {"structure": {"experts": "zero_one"}},
        {"structure": {"experts": [["zero_one"]]}},
        {"structure": {"other": 1}},
        {"uses": ["two_three"]},
        {"uses": ["zero_one"]},
        {"uses": ["nobody", "two_three"]},
        {"uses": ["two_three", "zero_one"]},
        {"classes": ["two", "three", "four"]},
    ],
    ids=str,
)
def test_forged_structures(networks, changes):
    change_record(networks / TWO / TASK, **changes)
    assert f"{networks / TWO}" in outcome(networks)
    with pytest.raises(InputError, match=TWO):
        Run.open(networks).load()


@pytest.mark.parametrize(
    ("method", "named"), [("magic", "magic"), ("scratch", WEIGHTS)]
)
def test_a_forged_method(networks, method, named):
    change_record(networks / RUN, method=method)
    found = outcome(networks)
    assert named in found
    assert str(networks) in found


@pytest.mark.parametrize(
    "config",
    [{"image_size": 32}, {"backbone": "resnet18"}, {"routing": "task"}],
    ids=str,
)
def test_a_forged_recipe(networks, config):
    recipe = json.loads((networks / RUN).read_bytes())["config"]
    change_record(networks / RUN, config={**recipe, **config})
    assert f"{networks / ONE}" in outcome(networks) or (
        f"{networks / TWO}" in outcome(networks)
    )


def test_forgeries_were_of_copies_only(learned):
    assert outcome(Path(learned)) is None
