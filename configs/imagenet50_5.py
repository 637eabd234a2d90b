"""imagenet50_5: fifty classes of ImageNet in five tasks, task unknown.

The published classes at 32x32, resnet18:

    python -m cckeras.train --benchmark=imagenet50_5 --data_dir=DIR --run_dir=RUN

with pictures in DIR/task_<1 to 5>/<train|test>/<WordNet number>/. Small, any
fifty classes at 32x32, half as wide, eight epochs:

    python -m cckeras.train --benchmark=imagenet50_5 --config.size=small \
        --data_dir=DIR --run_dir=RUN --threads=1

The bound, one network trained on all tasks at once: --method=scratch
--config.joint=True. Then: python -m cckeras.evaluate RUN --data_dir=DIR
"""

from cckeras.configs.recipe import published_recipe

# What `get_config` may be told beside the method.
CHOICES = {
    "size": ("full", "small"),
    # The one that has a width.
    "backbone": ("resnet18",),
}


def get_config(method: str, size: str = "full", backbone: str = "resnet18"):
    """Return the recipe of a method, for a size."""
    config = published_recipe(method)
    config.size = size
    config.joint = False
    config.backbone = backbone
    config.width = 64
    config.augmentation = "resized_crop_and_flip"
    config.batch_size = 64
    config.decay_epochs = (50, 75)
    config.l2 = 5e-4
    config.select = "last"
    config.scratch_learning_rate = 1e-1
    if method != "scratch":
        config.learning_rate = 5e-2
    if method == "condconv":
        config.router_learning_rate = 5e-3
    if size == "small":
        config.width = 32
        config.epochs = 8
        config.schedule = "cosine"
    return config
