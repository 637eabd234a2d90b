"""The published recipe, from which every benchmark's config starts."""

import ml_collections


def published_recipe(method: str) -> ml_collections.ConfigDict:
    """Return the authors' recipe for CIFAR-100 (methods.md 3.3 and 4).

    Args:
        method: name of a method; some fields exist for one method alone.
    """
    config = ml_collections.ConfigDict()
    config.seed = 0
    config.split_seed = 0
    config.backbone = "conv4"
    config.image_size = 32
    config.mean = (0.485, 0.456, 0.406)
    config.std = (0.229, 0.224, 0.225)
    config.augmentation = "crop_and_flip"
    config.batch_size = 32
    config.epochs = 100
    config.schedule = "steps"
    config.decay_epochs = (50, 80)
    config.decay_factor = 0.1
    config.l2 = 4e-5
    config.label_smoothing = 0.0
    config.select = "best"
    config.accumulate_steps = 1
    config.precision = "float32"
    config.distribute = "none"
    config.synchronized_norms = False
    config.recompute = False
    config.scratch_learning_rate = 1e-2
    if method != "scratch":
        config.learning_rate = 5e-3
    if method == "condconv":
        config.router_learning_rate = 1e-3
        config.routing = "image"
        config.experts = "all"
        config.expert_start = "zeros"
        config.router_start = "published"
        config.own_expert = "routed"
        config.implementation = "auto"
        config.settle_epochs = 0
        config.settle_tolerance = 0.0
        config.settle_learning_rate = 5e-3
    if method == "finetune":
        config.sources = "all"
    return config


def start_from_first(
    config: ml_collections.ConfigDict, method: str, routing: str = "task"
) -> None:
    """Let later tasks stand on the first one's network (methods.md 3.7).

    Of a pretrained network only the first task's experts are worth sharing,
    and its routers start at zero weights: random ones would switch its kernels
    off. A router of images sums over the up to 1,152 channels of such a
    network, so it learns at a tenth of the published rate, which cost 2 points
    on birds and 7 to 13 on cars (fine_grained6, small).

    Args:
        config: the recipe to change.
        method: name of a method.
        routing: `"task"` or `"image"`.
    """
    if method == "condconv":
        config.experts = "first"
        config.routing = routing
        if routing == "image":
            config.router_learning_rate = 1e-4
        config.own_expert = "added"
        config.router_start = "zeros"
    if method == "finetune":
        config.sources = "first"
