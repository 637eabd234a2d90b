"""Banks in eight bits: a scale an expert, none of it stored a row."""

import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given, settings
from hypothesis import strategies as st

from cckeras.export.banks import PEAK, whole_numbers, with_one_scale
from cckeras.export.convert import to_tflite
from cckeras.export.flatbuffer import unpack

EXPERTS, NUMBERS = 6, 600


@settings(deadline=None)
@given(seed=st.integers(0, 10**6), size=st.floats(0.05, 10))
def test_a_bank_is_off_by_half_a_step_at_most(seed, size):
    rng = np.random.default_rng(seed)
    bank = (size * rng.normal(size=(3, 2, 5))).astype(np.float32)
    whole, scales = whole_numbers(bank)
    assert (whole == np.round(whole)).all()
    assert np.abs(whole).max() == PEAK
    np.testing.assert_array_equal(scales, scales.astype(np.float16))
    step = scales[:, None, None]
    # Scales are rounded, so the largest number may be cut by 2 ** -11.
    assert (np.abs(whole * step - bank) <= step * (0.5 + PEAK / 2**11)).all()


def test_an_expert_of_zeros_stays_zero():
    whole, scales = whole_numbers(np.zeros((1, 4), np.float32))
    assert not whole.any()
    assert scales > 0


def converted(rng):
    """A model that mixes a bank, and multiplies with another matrix."""
    bank, _ = whole_numbers(rng.normal(size=(EXPERTS, NUMBERS)))
    other = rng.normal(size=(NUMBERS, 40)).astype(np.float32) / 50

    @tf.function(input_signature=[tf.TensorSpec((1, EXPERTS), name="x")])
    def mix(x):
        kernel = tf.matmul(x, tf.constant(bank))
        return {"kernel": kernel, "y": tf.matmul(kernel, tf.constant(other))}

    return bank, to_tflite({"mix": mix}, "int8_weights")


def weights_of(model):
    parsed = unpack(model)
    return {
        tuple(tensor.shape): (tensor, parsed.buffers[tensor.buffer].data)
        for tensor in parsed.subgraphs[0].tensors
        if tensor.type == schema.TensorType.INT8
    }


def test_the_bank_has_one_scale_and_its_whole_numbers(rng):
    bank, model = converted(rng)
    packed = with_one_scale(model)
    assert len(packed) < len(model) - 8 * NUMBERS
    tensor, data = weights_of(packed)[NUMBERS, EXPERTS]
    assert tensor.quantization.scale.tolist() == [1.0]
    stored = np.asarray(data, np.uint8).view(np.int8)
    np.testing.assert_array_equal(stored.reshape(NUMBERS, -1), bank.T)
    other, _ = weights_of(packed)[40, NUMBERS]
    assert len(other.quantization.scale) == 40


def test_litert_mixes_it(rng):
    bank, model = converted(rng)
    weights = rng.uniform(0, 1, (1, EXPERTS)).astype(np.float32)
    interpreter = Interpreter(model_content=with_one_scale(model))
    kernel = interpreter.get_signature_runner("mix")(x=weights)["kernel"]
    # LiteRT rounds the weights to eight bits, too: by half a step of 1 / PEAK
    # each, which a number of the bank multiplies by PEAK at most.
    np.testing.assert_allclose(kernel, weights @ bank, atol=EXPERTS / 2)


def test_a_part_of_a_bank_without_its_peak_has_one_scale_too(rng):
    # Rows of a bank are products of their own; the peak is in another one.
    whole = rng.integers(-90, 91, (5, 3000)).astype(np.float32)

    @tf.function(input_signature=[tf.TensorSpec((1, 5), tf.float32, "weights")])
    def mix(weights):
        return {"kernel": tf.matmul(weights, tf.constant(whole))}

    model = to_tflite({"mix": mix}, "int8_weights")
    assert len(with_one_scale(model)) < len(model) - 4 * 2900
