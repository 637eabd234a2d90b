"""Grow a convolution by a task and see that the first task did not change."""

import numpy as np

from cckeras import CondConv2D

images = np.random.default_rng(0).random((8, 32, 32, 3), dtype="float32")

layer = CondConv2D(16, 3, padding="same")
layer.build(images.shape)
layer.grow("digits")
before = np.asarray(layer(images, task="digits"))

layer.grow("letters")
after = np.asarray(layer(images, task="digits"))

print("experts of letters:", layer.experts("letters"))
print("digits unchanged, bit for bit:", before.tobytes() == after.tobytes())
