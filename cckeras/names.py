"""Registered names, for commands to check before Keras is loaded."""

# The registries are cckeras.benchmarks and cckeras.methods; a test compares.
BENCHMARKS = (
    "digits5",
    "cifar100_20",
    "fine_grained6",
    "imagenet50_5",
    "image_folder",
)
METHODS = ("condconv", "scratch", "finetune", "linear_probe")
QUANTIZATIONS = ("none", "float16", "int8_weights", "int8")
RULES = (
    "published",
    "max_logit",
    "max_probability",
    "entropy",
    "energy",
    "calibrated",
    "gated",
    "agreed",
)
EXPORT_ROUTINGS = ("auto", "exact", "folded", "low_rank")
