"""torchvision's ResNets in NumPy, from a state by torchvision's names."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3)}


def random_state(name, classes, rng, large_stem):
    """Return a state with random values, norm statistics too."""
    state = {}

    def conv(key, filters, channels, size):
        shape = (filters, channels, size, size)
        scale = (2 / (channels * size * size)) ** 0.5
        state[f"{key}.weight"] = scale * rng.standard_normal(shape)

    def norm(key, channels):
        state[f"{key}.weight"] = rng.uniform(0.3, 0.9, channels)
        state[f"{key}.bias"] = 0.3 * rng.standard_normal(channels)
        state[f"{key}.running_mean"] = 0.3 * rng.standard_normal(channels)
        state[f"{key}.running_var"] = rng.uniform(0.5, 1.5, channels)
        state[f"{key}.num_batches_tracked"] = np.array(7, np.int64)

    conv("conv1", 64, 3, 7 if large_stem else 3)
    norm("bn1", 64)
    deep = name == "resnet50"
    channels = 64
    for stage, blocks in enumerate(BLOCKS[name], 1):
        filters = 32 * 2**stage
        out = filters * (4 if deep else 1)
        for block in range(blocks):
            key = f"layer{stage}.{block}"
            sizes = (1, 3, 1) if deep else (3, 3)
            widths = (
                [channels, filters, filters, out]
                if deep
                else [
                    channels,
                    filters,
                    filters,
                ]
            )
            for index, size in enumerate(sizes, 1):
                conv(
                    f"{key}.conv{index}", widths[index], widths[index - 1], size
                )
                norm(f"{key}.bn{index}", widths[index])
            if block == 0 and (deep or stage > 1):
                conv(f"{key}.downsample.0", out, channels, 1)
                norm(f"{key}.downsample.1", out)
            channels = out
    state["fc.weight"] = 0.1 * rng.standard_normal((classes, channels))
    state["fc.bias"] = rng.standard_normal(classes)
    return {
        key: value.astype("float32") if value.ndim else value
        for key, value in state.items()
    }


def logits(name, state, x, large_stem):
    """Return the logits of normalised images `[B, H, W, 3]`, in float64."""
    state = {key: value.astype("float64") for key, value in state.items()}

    def conv(x, key, stride=1):
        kernel = state[f"{key}.weight"]
        x = windows(x, kernel.shape[-1], stride)
        return np.tensordot(x, kernel, ([3, 4, 5], [1, 2, 3]))

    def norm(x, key):
        weight, bias, mean, variance = (
            state[f"{key}.{part}"]
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / np.sqrt(variance + 1e-5) * weight + bias

    x = relu(norm(conv(x, "conv1", 2 if large_stem else 1), "bn1"))
    if large_stem:
        x = windows(x, 3, 2).max((4, 5))
    for stage, blocks in enumerate(BLOCKS[name], 1):
        for block in range(blocks):
            key = f"layer{stage}.{block}"
            strides = [2 if stage > 1 and block == 0 else 1, 1]
            if name == "resnet50":
                strides = [1, *strides]
            y = x
            for index, stride in enumerate(strides, 1):
                y = norm(
                    conv(y, f"{key}.conv{index}", stride), f"{key}.bn{index}"
                )
                y = relu(y) if index < len(strides) else y
            if f"{key}.downsample.0.weight" in state:
                x = norm(
                    conv(x, f"{key}.downsample.0", max(strides)),
                    f"{key}.downsample.1",
                )
            x = relu(x + y)
    return x.mean((1, 2)) @ state["fc.weight"].T + state["fc.bias"]


def relu(x):
    return np.maximum(x, 0)


def windows(x, size, stride):
    """Return `[B, H', W', C, size, size]`, with size // 2 zeros around."""
    pad = (size // 2,) * 2
    x = np.pad(x, ((0, 0), pad, pad, (0, 0)))
    return sliding_window_view(x, (size, size), (1, 2))[:, ::stride, ::stride]
