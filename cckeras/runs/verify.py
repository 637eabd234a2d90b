"""Proof that no committed task has changed (design.md 7)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

from cckeras.errors import InputError
from cckeras.runs import files
from cckeras.runs.run import Run
from cckeras.runs.unforgetting import compare_logits, probe_logits
from cckeras.task import Task


@dataclass
class Verdict:
    """What was found of one task; each text is None if it was not reached.

    Args:
        task: its name.
        files: of the hashes of its files.
        tensors: of the digest of what it owns, in the loaded run.
        alone: of its logits in the whole run, against a network rebuilt from
            its own files and those of the experts that it uses.
        recorded: of its logits against those stored at its commit.
        holds: whether nothing differs.
    """

    task: str
    files: str | None = None
    tensors: str | None = None
    alone: str | None = None
    recorded: str | None = None
    holds: bool = True

    def as_dict(self) -> dict:
        """Return plain JSON data."""
        return asdict(self)


def verify_run(
    run: Run, here: dict, progress: Callable[[str], None] = lambda text: None
) -> Iterator[Verdict]:
    """Check every committed task of a run.

    Args:
        run: the opened run.
        here: the environment of this process; logits must be equal bit for
            bit to recorded ones where the recorded environment is the same.
        progress: called with what is being done.

    Yields:
        a `Verdict` per task.
    """
    damaged = dict(_damaged_files(run))
    sound = tuple(
        record["name"]
        for record in run.records
        if not any(used in damaged for used in record["uses"])
    )
    progress("loading the whole run")
    try:
        whole = run.load(sound)
    except InputError as error:
        yield Verdict("the whole run", files=str(error), holds=False)
        return
    for record in run.records:
        name = record["name"]
        progress(name)
        verdict = Verdict(name, files=damaged.get(name, "as committed"))
        if name in sound:
            _compare(run, whole, record, here, verdict)
        else:
            verdict.holds = False
            if name not in damaged:
                used = [used for used in record["uses"] if used in damaged]
                verdict.tensors = f"uses the damaged files of {', '.join(used)}"
        yield verdict


def _damaged_files(run):
    for record in run.records:
        folder = run.folder(record["name"])
        wrong = []
        for name, digest in record["files"].items():
            try:
                if files.sha256(folder / name) != digest:
                    wrong.append(f"{folder / name} differs")
            except OSError as error:
                wrong.append(f"{folder / name}: {error.strerror}")
        if wrong:
            yield record["name"], "; ".join(wrong)


def _compare(run, whole, record, here, verdict):
    task = Task.from_record(record)
    same = whole.digest(task) == record["digest"]
    verdict.tensors = (
        f"{record['parameters']:,} equal" if same else "digest differs"
    )
    probe = run.probe(task.name)
    logits = probe_logits(whole.task_model(task.name), probe.images)
    own = run.load(tuple(record["uses"]))
    alone = compare_logits(
        logits, probe_logits(own.task_model(task.name), probe.images), True
    )
    recorded = compare_logits(
        logits, probe.logits, exactly=record["environment"] == here
    )
    verdict.alone = alone.text
    verdict.recorded = recorded.text
    if not recorded.exact and recorded.holds:
        verdict.recorded += f", {_difference(record['environment'], here)}"
    verdict.holds = same and alone.holds and recorded.holds


def _difference(there, here):
    keys = sorted(key for key in there if there[key] != here.get(key))
    return f"recorded with another {', '.join(keys)}"
