"""Benchmarks: sequences of tasks with their data, registered by name."""

from cckeras.benchmarks.cifar100_20 import cifar100_20
from cckeras.benchmarks.digits5 import digits5
from cckeras.benchmarks.fine_grained6 import fine_grained6
from cckeras.benchmarks.image_folder import image_folder
from cckeras.benchmarks.imagenet50_5 import imagenet50_5
from cckeras.errors import choose

BENCHMARKS = {
    "digits5": digits5,
    "cifar100_20": cifar100_20,
    "fine_grained6": fine_grained6,
    "imagenet50_5": imagenet50_5,
    "image_folder": image_folder,
}


def benchmark(name: str):
    """Return a benchmark's function `(config, data_dir) -> Benchmark`.

    Raises:
        InputError: if there is none of that name.
    """
    return BENCHMARKS[choose("benchmark", name, BENCHMARKS)]
