"""image_folder: your own folders of pictures, one folder a task.

The layout is DIR/<task>/<train|validation|test>/<class>/*.jpg (or .png, ...).
Tasks are learned in alphabetical order. Where validation or test is missing,
15 % of every class of train is taken for it.

    python -m cckeras.train --benchmark=image_folder --data_dir=DIR --run_dir=RUN
"""

from cckeras.configs.recipe import published_recipe

from cckeras.data.lite0_package import MEAN, STD, installed


def get_config(method: str):
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
        _start_from_imagenet(config, method)
    return config


def _start_from_imagenet(config, method):
    """First and own expert, and routing per task, as methods.md 3.7 has them;
    size and epochs are for a laptop, and were not tuned."""
    config.backbone = "efficientnet_lite0"
    config.pretrained = "imagenet"
    config.image_size = 128
    config.mean, config.std = MEAN, STD
    config.epochs = 12
    config.decay_epochs = (6, 10)
    if method in ("condconv", "finetune"):
        config.learning_rate = 1e-2
    if method == "condconv":
        config.experts = "first"
        config.routing = "task"
        config.own_expert = "added"
        config.router_start = "zeros"
    if method == "finetune":
        config.sources = "first"
