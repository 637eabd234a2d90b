"""Use a run: pictures in, classes out, with a task or with none.

    python -m cckeras.predict RUN PICTURE... --task=flowers
    python -m cckeras.predict RUN FOLDER --format=json
    ls *.jpg | python -m cckeras.predict RUN -

A folder stands for all pictures in it, `-` for paths on standard input, one a
line. Without --task, --rule finds the task, too. Pictures are cut to squares as
the task's were, without --task as the first one's.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from cckeras.commands import (
    check_writable,
    open_learned,
    run_command,
    start_backend,
    write_json,
)
from cckeras.errors import InputError, choose
from cckeras.flags import Flags
from cckeras.names import RULES

BATCH = 100


def main(arguments: list[str]) -> None:
    """Run the command."""
    options = Flags("cckeras.predict", __doc__, ("RUN", "PICTURE..."))
    options.add_text("task", None, "the task that the pictures belong to")
    options.add_text(
        "rule",
        None,
        f"without --task: {', '.join(RULES)}; if absent agreed, which leaves "
        "out a task whose weights came without pictures, or for a run without "
        "statistics max_probability",
    )
    options.add_text("format", "table", "what to print: table or json")
    options.add_number(
        "top",
        1,
        "how many classes to name for a picture: the answer, then "
        "by their probability in its task's network",
        1,
    )
    options.add_threads()
    folder, *given = options.parse(arguments)
    choose("--format", options.format, ("table", "json"))
    if options.rule is not None:
        choose("--rule", options.rule, RULES)
        if options.task is not None:
            raise InputError(
                "Expected --task or --rule, which finds the task. Received: "
                "both. Leave one out."
            )
    check_writable(options.json)
    records = open_learned(folder)
    record = records.records[0]
    if options.task is not None:
        record = records.record(options.task)
    from cckeras.console import telling
    from cckeras.data.pictures import Framing, PictureImages

    framing = Framing(records.config["image_size"], **record.get("framing", {}))
    pictures = PictureImages(picture_paths(given), framing)
    with telling() as tell:
        tell("reading pictures")
        pictures.check()
    start_backend(options.threads)
    chosen = None if options.task else chosen_rule(records, options.rule)
    with telling() as tell:
        answers = predict(
            folder, pictures, options.task, chosen, options.top, tell
        )
    result = {
        "run": str(folder),
        "task": options.task,
        "rule": chosen,
        "pictures": answers,
    }
    write_json(options.json, "predict", result)
    if options.format == "json":
        print(json.dumps(result, indent=2))
    else:
        print_result(result)


def chosen_rule(records, name: str | None) -> str:
    """Return the rule to use.

    Raises:
        InputError: if the run lacks what the named rule needs.
    """
    from cckeras.evaluation.task_free import (
        DEFAULT_RULE,
        INFORMED,
        WITHOUT_STATISTICS,
    )
    from cckeras.runs.statistics import stored_statistics

    if name is not None and name not in INFORMED:
        return name
    stored = stored_statistics(records)
    lacking = [
        record["name"]
        for record in records.records
        if record["name"] not in stored and record["data"] is not None
    ]
    if stored and not lacking:
        return name or DEFAULT_RULE
    if name is None:
        return WITHOUT_STATISTICS
    received = (
        f"none of {', '.join(lacking)}, learned by an earlier version"
        if lacking
        else "weights that came without pictures alone"
    )
    raise InputError(
        f"Expected statistics of the tasks of {records.path} for "
        f"--rule={name}. Received: {received}. Choose another rule."
    )


def predict(folder, pictures, task, rule_name, top, progress) -> list[dict]:
    """Return `{path, task, class, probability, top}` of each picture.

    Args:
        folder: the run's.
        pictures: a `PictureImages`.
        task: name of the task, or None to find it by the rule.
        rule_name: a rule of `cckeras.evaluation.task_free`, without a task.
        top: how many classes to name, the answer first.
        progress: called with what is being done.
    """
    import numpy as np

    from cckeras.evaluation.answers import answer, answering_model, informed
    from cckeras.evaluation.task_free import INFORMED, rule
    from cckeras.runs.run import Run
    from cckeras.runs.seeing import see
    from cckeras.runs.statistics import (
        first_seeing,
        gate_of,
        stored_statistics,
    )

    progress("loading the run")
    run = Run.open(folder)
    records = [run.record(task)] if task else run.records
    known = stored_statistics(run) if rule_name in INFORMED else {}
    needed = []
    if known:
        records = [run.record(name) for name in known]
        needed = [run.records[0]["name"]]
    needed += [used for record in records for used in record["uses"]]
    method = run.load(tuple(dict.fromkeys(needed)))
    models = [
        answering_model(method.task_model(record["name"])) for record in records
    ]
    # Rules compare tasks; of one task, each gives the class.
    find = rule("max_logit" if task else rule_name)
    if known:
        seeing = first_seeing(method)
        statistics = list(known.values())
        gate = gate_of(statistics)
    results = []
    for start in range(0, len(pictures), BATCH):
        progress(f"picture {start + 1} of {len(pictures)}")
        paths = pictures.paths[start : start + BATCH]
        places = range(start, start + len(paths))
        images = pictures.read(places).astype(np.float32)
        answers = [answer(model, [images]) for model in models]
        if known:
            scores = gate.scores(see(seeing, images))
            answers = informed(answers, statistics, gate, scores)
        found = find(answers, run.config["seed"])
        results += _described(records, paths, answers, found, top)
    return results


def _described(records, paths, answers, found, top):
    """Yield the results of pictures from the classes found for them."""
    import numpy as np

    from cckeras.evaluation.task_free import probabilities, task_of_class

    counts = [len(record["classes"]) for record in records]
    starts = np.cumsum([0, *counts])
    shares = [probabilities(own.logits) for own in answers]
    for row, number in enumerate(task_of_class(counts, found)):
        classes, own = records[number]["classes"], shares[number][row]
        label = found[row] - starts[number]
        ranked = sorted(
            range(len(classes)),
            key=lambda place: (place != label, -own[place]),
        )
        best = [
            {
                "class": classes[place],
                "probability": round(float(own[place]), 6),
            }
            for place in ranked[:top]
        ]
        yield {
            "path": str(paths[row]),
            "task": records[number]["name"],
            **best[0],
            "top": best,
        }


def picture_paths(given: list[str]) -> list[Path]:
    """Return the pictures named by paths, folders and standard input.

    Raises:
        InputError: for a path that does not exist, and if there is none.
    """
    from cckeras.data.pictures import is_picture

    if "-" in given:
        lines = [line.strip() for line in sys.stdin]
        place = given.index("-")
        given = [*given[:place], *filter(None, lines), *given[place + 1 :]]
    paths = []
    for text in given:
        path = Path(text)
        if path.is_dir():
            paths += sorted(p for p in path.rglob("*") if is_picture(p))
        elif path.is_file():
            paths.append(path)
        else:
            raise InputError(
                f"Expected a picture or a folder. Received: {text!r}, which "
                "does not exist. Check the path."
            )
    if not paths:
        raise InputError(
            "Expected at least one picture. Received: none. Give files, a "
            "folder with pictures, or paths on standard input with '-'."
        )
    return paths


def print_result(result: dict) -> None:
    """Print a row for each picture and named class."""
    from rich.table import Table

    from cckeras.console import print_table

    table = Table()
    for column in ("picture", "task", "class", "probability"):
        table.add_column(column, overflow="fold")
    for row in result["pictures"]:
        for place, best in enumerate(row["top"]):
            table.add_row(
                row["path"] if place == 0 else "",
                row["task"] if place == 0 else "",
                best["class"],
                f"{best['probability']:.3f}",
            )
    print_table(table)


if __name__ == "__main__":
    run_command(main)
