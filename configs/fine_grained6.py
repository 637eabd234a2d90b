"""fine_grained6: ImageNet, then birds, cars, flowers, paintings, sketches.

Full size, ResNet-50 and Keras' ImageNet weights, a machine with a GPU:

    python -m cckeras.train --benchmark=fine_grained6 --data_dir=DIR --run_dir=RUN

with pictures in DIR/<imagenet|birds|cars|flowers|wikiart|sketch>/
<train|validation|test>/<class>/. To run it anywhere, EfficientNet-Lite0:

    python -m cckeras.train --benchmark=fine_grained6 --data_dir=DIR \
        --run_dir=RUN --config.backbone=efficientnet_lite0

Small, pictures of 72x72 enlarged to 96x96, EfficientNet-Lite0 from ImageNet
weights (or --config.backbone=resnet18_imagenet, whose first task is trained):

    python -m cckeras.train --benchmark=fine_grained6 --config.size=small \
        --data_dir=DIR --run_dir=RUN --threads=1
"""

from cckeras.configs.recipe import published_recipe, start_from_first

from cckeras.data.lite0_package import MEAN, STD

# What `get_config` may be told beside the method.
CHOICES = {
    "size": ("full", "small"),
    "backbone": (
        "resnet50_v1",
        "resnet50",
        "efficientnet_lite0",
        "resnet18_imagenet",
    ),
    "routing": ("task", "image"),
}


def get_config(
    method: str,
    size: str = "full",
    backbone: str | None = None,
    routing: str = "task",
):
    """Return the recipe of a method, for a size, a backbone and a routing."""
    if backbone is None:
        backbone = "efficientnet_lite0" if size == "small" else "resnet50_v1"
    config = published_recipe(method)
    config.size = size
    config.backbone = backbone
    config.pretrained = "imagenet"
    start_from_first(config, method, routing)
    if backbone == "efficientnet_lite0":
        config.mean, config.std = MEAN, STD
    if backbone == "resnet50_v1":
        # What keras.applications.resnet.preprocess_input subtracts.
        config.mean = (0.48502, 0.457957, 0.407604)
    if size == "small":
        _small(config, method)
    else:
        _full(config, method)
    return config


def _full(config, method):
    """Learning rates of methods.md 8.8; steps and epochs as for CIFAR-100."""
    config.image_size = 224
    config.augmentation = "resized_crop_and_flip"
    if method != "scratch":
        config.learning_rate = 1e-3


def _small(config, method):
    config.image_size = 96
    config.epochs = 12
    config.schedule = "cosine"
    config.label_smoothing = 0.1
    if config.backbone == "resnet18_imagenet":
        config.pretrained = ""
        config.image_size = 72
    if method == "scratch":
        config.pretrained = ""
    else:
        config.learning_rate = 1e-2
