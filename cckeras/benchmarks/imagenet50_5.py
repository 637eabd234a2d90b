"""imagenet50_5: fifty classes of ImageNet in five tasks (methods.md 1.3)."""

from __future__ import annotations

from cckeras.benchmarks.base import Benchmark
from cckeras.benchmarks.joint import join_tasks
from cckeras.benchmarks.task_folders import TaskFolders
from cckeras.data.imagenet_classes import imagenet_classes
from cckeras.data.pictures import Framing
from cckeras.data.sources import TaskData
from cckeras.errors import InputError

TASKS = ("task_1", "task_2", "task_3", "task_4", "task_5")
# Fifty classes by WordNet number, ten a task.
CLASSES = tuple(
    f"n{number:08}"
    for number in (
        *(1443537, 1558993, 1632777, 1692333, 1739381),
        *(1751748, 1796340, 1819313, 1820546, 1855672),
        *(1871265, 1950731, 2006656, 2056570, 2087394),
        *(2089078, 2093647, 2095570, 2095889, 2097298),
        *(2097658, 2101388, 2105641, 2108915, 2112018),
        *(2113624, 2123045, 2128757, 2128925, 2138441),
        *(2165456, 2236044, 2321529, 2403003, 2443484),
        *(2480495, 2493793, 2514041, 2526121, 2667093),
        *(2672831, 2776631, 2799071, 2837789, 2892767),
        *(2916936, 2978881, 3000134, 3000247, 3041632),
    )
)
SIZE, MARGIN = 32, 4


def imagenet50_5(config, data_dir=None) -> Benchmark:
    """Return the benchmark, from `DIR/<task>/<train|validation|test>/<class>/`.

    Classes are called by their WordNet number, or begin with it; at full size
    they are the published ones, at `size="small"` those that are there, and
    `DIR` may also be the folder that holds `imagenet50_32`. Test pictures are
    resized to 36 pixels for 32, and the middle is cut out; small ones, of 32
    pixels, are taken as they are. No validation split is taken from train: the
    recipe keeps the last epoch. Where the recipe says `joint`, all tasks are
    one.

    Args:
        config: the recipe.
        data_dir: the folder `DIR`.
    """
    small = config["size"] == "small"
    inner = "imagenet50_32" if small else "imagenet50_5"
    folders = TaskFolders(
        data_dir,
        inner,
        TASKS,
        config["split_seed"],
        validate=False,
        unpacked={} if small else dict.fromkeys(TASKS, "imagenet50"),
    )
    size = config["image_size"]
    framing = Framing(size, 0 if small else round(MARGIN * size / SIZE))

    def load(task: str) -> TaskData:
        data = folders.load(task, framing)
        if not small:
            _check_classes(task, data.classes)
        return data

    tasks = Benchmark("imagenet50_5", TASKS, load)
    return join_tasks(tasks) if config["joint"] else tasks


def _check_classes(task, found):
    start = 10 * TASKS.index(task)
    expected = CLASSES[start : start + 10]
    if tuple(name.split("_")[0] for name in found) != expected:
        names = {one.wordnet: one.name for one in imagenet_classes()}
        missing = sorted(set(expected) - {name.split("_")[0] for name in found})
        listed = [f"{number} ({names[number]})" for number in missing]
        raise InputError(
            f"Expected the published classes of {task!r}: "
            f"{', '.join(expected)}. Received: {len(found)} others, without "
            f"{', '.join(listed) or 'any missing'}. Put these there alone, or "
            "take your own with --config.size=small."
        )
