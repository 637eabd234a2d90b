"""digits5: scikit-learn's handwritten digits, five tasks of two classes.

A smoke run with real data.

    python -m cckeras.train --benchmark=digits5 --run_dir=RUN
"""

from cckeras.configs.recipe import published_recipe


def get_config(method: str):
    """Return the recipe of a method."""
    config = published_recipe(method)
    config.image_size = 16
    config.augmentation = "shift"
    config.epochs = 20
    config.decay_epochs = (10, 16)
    return config
