"""image_folder: your own folders of pictures, one folder a task.

The layout is DIR/<task>/<train|validation|test>/<class>/*.jpg (or .png, ...).
Tasks are learned in alphabetical order. Where validation or test is missing,
15 % of every class of train is taken for it.

    python -m cckeras.train --benchmark=image_folder --data_dir=DIR --run_dir=RUN
"""

from cckeras.configs.recipe import published_recipe


def get_config(method: str):
    """Return the recipe of a method, for pictures of 64x64 pixels.

    `pretrained` may name another run's folder, from whose first task this run
    starts, or weights of a ResNet (README.md).
    """
    config = published_recipe(method)
    config.image_size = 64
    config.epochs = 60
    config.decay_epochs = (30, 48)
    config.pretrained = ""
    return config
