"""image_folder: a person's own pictures, a folder for each task and class."""

from __future__ import annotations

from pathlib import Path

from cckeras.benchmarks.base import Benchmark
from cckeras.data.folders import folder_task, sub_folders
from cckeras.data.pictures import Framing, PictureMemory
from cckeras.data.sources import TaskData
from cckeras.errors import InputError

LAYOUT = "DIR/<task>/<train|validation|test>/<class>/"


def image_folder(config, data_dir=None) -> Benchmark:
    """Return the benchmark of `DIR/<task>/<train|validation|test>/<class>/*`.

    Tasks and classes are the folders' names, sorted; hidden ones, and files
    that are no pictures by their extension, are ignored. A missing test or
    validation split is 15 % of every class of train, by the configuration's
    `split_seed` and the task's name. A task's pictures are all read the first
    time that it is loaded.

    Args:
        config: a recipe with `image_size` (pixels) and `split_seed`.
        data_dir: the folder `DIR`.

    Raises:
        InputError: if there is no such folder or no task in it; loading a
            task raises it for a wrong layout and for unreadable pictures.
    """
    root = _root(data_dir)
    tasks = tuple(sub_folders(root))
    if not tasks:
        raise InputError(
            f"Expected task folders in --data_dir, as {LAYOUT}. Received: "
            f"{root}, which has none. Make one folder a task there."
        )
    framing, memory = Framing(config["image_size"]), PictureMemory()
    checked = set()

    def load(task: str) -> TaskData:
        data = folder_task(
            root / task,
            framing,
            config["split_seed"],
            memory,
            check=task not in checked,
        )
        checked.add(task)
        return data

    return Benchmark("image_folder", tasks, load)


def _root(data_dir):
    layout = f"Expected --data_dir=DIR with pictures in {LAYOUT}. Received: "
    if not data_dir:
        raise InputError(f"{layout}no --data_dir. Name your folder with it.")
    root = Path(data_dir).expanduser()
    if not root.exists():
        raise InputError(f"{layout}{root}, which is missing. Check the path.")
    if not root.is_dir():
        raise InputError(f"{layout}{root}, a file. Name the folder instead.")
    if (root / "train").is_dir() and not (root / "train" / "train").is_dir():
        raise InputError(
            f"{layout}{root}, which is one task. Move its folders into "
            f"{root / 'TASK'} and give that a name."
        )
    return root
