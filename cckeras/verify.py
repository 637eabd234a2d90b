"""Prove that no committed task of a run has changed.

    python -m cckeras.verify RUN

For every task: the hashes of its files; what it owns; its logits in the whole
run against those of a network rebuilt from its own files (and those of the
experts it uses); its logits against the ones stored when it was committed.
Exit code 1 if anything differs.
"""

from __future__ import annotations

from cckeras.commands import (
    check_writable,
    open_learned,
    run_command,
    start_backend,
    write_json,
)
from cckeras.errors import CheckError
from cckeras.flags import MOST_THREADS, Flags


def main(arguments: list[str]) -> None:
    """Run the command."""
    options = Flags("cckeras.verify", __doc__, ("RUN",))
    options.add_number(
        "threads",
        None,
        "processor threads, 0 for all; as recorded unless given",
        0,
        MOST_THREADS,
    )
    (folder,) = options.parse(arguments)
    check_writable(options.json)
    last = open_learned(folder).records[-1]
    threads = options.threads
    if threads is None:
        threads = last["environment"]["threads"]
    start_backend(threads)
    from rich.table import Table

    from cckeras.console import print_table, telling
    from cckeras.runs.environment import environment
    from cckeras.runs.run import Run
    from cckeras.runs.verify import verify_run

    run = Run.open(folder)
    here = environment(threads)
    table = Table(title=f"{folder}: {len(run.records)} tasks")
    for column in (
        "task",
        "files",
        "owned tensors",
        "whole run against own files",
        "against recorded",
        "",
    ):
        table.add_column(column, overflow="fold")
    verdicts = []
    with telling() as tell:
        for verdict in verify_run(
            run, here, lambda text: tell(f"verifying {text}")
        ):
            verdicts.append(verdict)
            table.add_row(
                verdict.task,
                *(
                    text or "not reached"
                    for text in (
                        verdict.files,
                        verdict.tensors,
                        verdict.alone,
                        verdict.recorded,
                    )
                ),
                "holds" if verdict.holds else "FAILS",
            )
    print_table(table)
    holds = all(verdict.holds for verdict in verdicts)
    write_json(
        options.json,
        "verify",
        {
            "run": str(folder),
            "holds": holds,
            "environment": here,
            "tasks": [verdict.as_dict() for verdict in verdicts],
        },
    )
    failed = [verdict.task for verdict in verdicts if not verdict.holds]
    if failed:
        raise CheckError(
            f"Expected every task of {folder} as it was committed. Received: "
            f"NOT as committed: {', '.join(failed)}. Restore what the table "
            "names from a copy."
        )
    print(
        f"every task is as it was committed ({len(verdicts)} of {len(verdicts)})"
    )


if __name__ == "__main__":
    run_command(main)
