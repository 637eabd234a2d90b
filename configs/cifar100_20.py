"""cifar100_20: CIFAR-100 in twenty tasks, the published recipe.

    python -m cckeras.train --benchmark=cifar100_20 --method=condconv \
        --data_dir=FOLDER --run_dir=RUN --threads=1
"""

from cckeras.configs.recipe import published_recipe


def get_config(method: str):
    """Return the recipe of a method."""
    return published_recipe(method)
