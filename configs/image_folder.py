"""image_folder: your own folders of pictures, one folder a task.

The layout is DIR/<task>/<train|validation|test>/<class>/*.jpg (or .png, ...).
Tasks are learned in alphabetical order. Where validation or test is missing,
15 % of every class of train is taken for it.

    python -m cckeras.train --benchmark=image_folder --data_dir=DIR --run_dir=RUN
"""

from cckeras.configs.recipe import published_recipe, start_from_first

from cckeras.data.lite0_package import MEAN, STD, installed

# What `get_config` may be told beside the method.
CHOICES = {"routing": ("task", "image")}


def get_config(method: str, routing: str = "task"):
    """Return the recipe of a method.

    Where the package of the ImageNet weights is installed, every task starts
    from EfficientNet-Lite0, at 128x128 pixels; else from conv4 at 64x64.
    `pretrained` may also name another run's folder, from whose first task this
    run starts, or weights of a ResNet (README.md).
    """
    config = published_recipe(method)
    config.image_size = 64
    config.epochs = 60
    config.decay_epochs = (30, 48)
    config.pretrained = ""
    if installed():
        _start_from_imagenet(config, method, routing)
    return config


def _start_from_imagenet(config, method, routing):
    """Size and epochs are for a laptop, and were not tuned."""
    start_from_first(config, method, routing)
    config.backbone = "efficientnet_lite0"
    config.pretrained = "imagenet"
    config.image_size = 128
    config.mean, config.std = MEAN, STD
    config.epochs = 12
    config.decay_epochs = (6, 10)
    if method != "scratch":
        config.learning_rate = 1e-2
