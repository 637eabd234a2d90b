"""cifar100_20: the twenty coarse classes of CIFAR-100, five classes each."""

from __future__ import annotations

import numpy as np

from cckeras.benchmarks.base import Benchmark
from cckeras.data.cifar100 import load_cifar100
from cckeras.data.sources import ArrayImages, Split, TaskData, stratified

# Coarse and fine classes in alphabetical order (methods.md 8b).
TASKS = {
    "aquatic_mammals": "beaver dolphin otter seal whale",
    "fish": "aquarium_fish flatfish ray shark trout",
    "flowers": "orchid poppy rose sunflower tulip",
    "food_containers": "bottle bowl can cup plate",
    "fruit_and_vegetables": "apple mushroom orange pear sweet_pepper",
    "household_electrical_devices": "clock keyboard lamp telephone television",
    "household_furniture": "bed chair couch table wardrobe",
    "insects": "bee beetle butterfly caterpillar cockroach",
    "large_carnivores": "bear leopard lion tiger wolf",
    "large_man-made_outdoor_things": "bridge castle house road skyscraper",
    "large_natural_outdoor_scenes": "cloud forest mountain plain sea",
    "large_omnivores_and_herbivores": (
        "camel cattle chimpanzee elephant kangaroo"
    ),
    "medium_mammals": "fox porcupine possum raccoon skunk",
    "non-insect_invertebrates": "crab lobster snail spider worm",
    "people": "baby boy girl man woman",
    "reptiles": "crocodile dinosaur lizard snake turtle",
    "small_mammals": "hamster mouse rabbit shrew squirrel",
    "trees": "maple_tree oak_tree palm_tree pine_tree willow_tree",
    "vehicles_1": "bicycle bus motorcycle pickup_truck train",
    "vehicles_2": "lawn_mower rocket streetcar tank tractor",
}

# Task-incremental test accuracy, tables of the paper (methods.md 12.6).
PUBLISHED = {
    "scratch": (
        65.4,
        76.0,
        75.0,
        78.0,
        83.0,
        77.8,
        79.2,
        81.8,
        82.2,
        86.8,
        83.4,
        79.4,
        84.2,
        78.4,
        48.0,
        68.2,
        63.8,
        70.2,
        85.8,
        88.6,
    ),
    "finetune": (
        65.4,
        75.4,
        74.5,
        74.7,
        81.2,
        77.2,
        73.2,
        80.4,
        81.0,
        84.8,
        86.0,
        76.6,
        81.6,
        77.5,
        46.6,
        67.2,
        63.2,
        69.7,
        84.4,
        88.6,
    ),
    "condconv": (
        65.4,
        77.4,
        75.2,
        78.4,
        81.4,
        77.6,
        77.6,
        82.2,
        82.2,
        86.8,
        85.4,
        77.8,
        83.8,
        80.2,
        50.6,
        71.0,
        67.8,
        69.8,
        86.8,
        91.2,
    ),
}


def cifar100_20(config, data_dir=None) -> Benchmark:
    """Return the benchmark; per task 2,000 train, 500 validation, 500 test.

    Validation is 100 of every class's 500 official training images, drawn by
    the configuration's `split_seed` (the authors' own draw is by file name);
    test is the official test part (methods.md 1.1).
    """
    data = load_cifar100(data_dir)
    fine = sorted(name for names in TASKS.values() for name in names.split())

    def load(task: str) -> TaskData:
        classes = tuple(TASKS[task].split())
        numbers = [fine.index(name) for name in classes]
        train = _select(data.x_train, data.y_train, numbers)
        rest, validation = stratified(
            train.labels, 0.2, [config["split_seed"], numbers[0]]
        )
        return TaskData(
            classes,
            train.subset(rest),
            train.subset(validation),
            _select(data.x_test, data.y_test, numbers),
        )

    published = {
        method: dict(zip(TASKS, row, strict=True))
        for method, row in PUBLISHED.items()
    }
    return Benchmark("cifar100_20", tuple(TASKS), load, published)


def _select(images, labels, numbers):
    places = np.flatnonzero(np.isin(labels, numbers))
    local = np.searchsorted(numbers, labels[places]).astype(np.int64)
    return Split(ArrayImages(images[places]), local)
