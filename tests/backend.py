"""The few things that tests must do differently on TensorFlow and JAX."""

import keras
import numpy as np
import pytest

BACKEND = keras.backend.backend()
tensorflow_only = pytest.mark.skipif(
    BACKEND != "tensorflow", reason="this form exists on TensorFlow alone"
)
jax_only = pytest.mark.skipif(
    BACKEND != "jax", reason="this error exists on JAX alone"
)


def array(tensor) -> np.ndarray:
    """Return a tensor or variable as a NumPy array of its own."""
    return np.array(keras.ops.convert_to_numpy(tensor))


def same_bits(a, b) -> bool:
    """Return whether two tensors agree in dtype, shape and every bit."""
    a, b = array(a), array(b)
    same = (a.dtype, a.shape) == (b.dtype, b.shape)
    return same and a.tobytes() == b.tobytes()


def gradients(loss, variables) -> list[np.ndarray]:
    """Return the gradients of `loss()`, a scalar, to Keras variables."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            value = loss()
        return [
            array(gradient)
            for gradient in tape.gradient(value, [v.value for v in variables])
        ]
    import jax

    def stateless(values):
        mapping = list(zip(variables, values, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            return loss()

    return [
        array(gradient)
        for gradient in jax.jit(jax.grad(stateless))(
            [v.value for v in variables]
        )
    ]


def compiled(function):
    """Return a function that JAX compiles as a whole, which saves tests time.

    Op by op, as TensorFlow runs it, JAX would compile every single one.
    """
    if BACKEND != "jax":
        return function
    import jax

    return jax.jit(function)


def randomise(variables, rng, scale=0.5) -> None:
    """Give variables random values, so that no term of a formula is zero."""
    for variable in variables:
        values = scale * rng.standard_normal(tuple(variable.shape))
        variable.assign(values.astype(variable.dtype))
