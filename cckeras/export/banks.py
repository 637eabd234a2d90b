"""Banks of kernels in eight bits, with one scale for each expert.

LiteRT stores a scale and a zero point for every row of a matrix product's
weights; a row of a bank has one number an expert, so these would be most of
the file. An expert's scale can be multiplied into its routing weight instead:
the bank then holds whole numbers, and a single scale of one serves all.
"""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from cckeras.export.flatbuffer import pack, unpack

PEAK = 127
# The smallest number of float16 with all its digits: a bank of smaller experts
# keeps the converter's scales.
SMALLEST = 2.0**-14


def whole_numbers(bank: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a bank as whole numbers within 127, and a scale an expert.

    Args:
        bank: `[n, ...]`.

    Returns:
        `[n, ...]` and `[n]`, both float32; their product is the bank, rounded.
        The scales are numbers of float16, too.
    """
    peaks = np.abs(bank).reshape(len(bank), -1).max(1)
    scales = np.maximum(peaks / PEAK, SMALLEST).astype(np.float16)
    columns = scales.astype(np.float32).reshape(-1, *[1] * (bank.ndim - 1))
    whole = np.clip(np.round(bank / columns), -PEAK, PEAK)
    return whole.astype(np.float32), scales.astype(np.float32)


def with_one_scale(model: bytes) -> bytes:
    """Return a model whose banks of whole numbers have a scale of one.

    The converter gave each of their rows the scale of its largest number, at
    most one: rounding gives the whole numbers back.

    Args:
        model: a `.tflite` file with weights in eight bits.
    """
    parsed = unpack(model)
    done = set()
    for graph in parsed.subgraphs:
        for operator in graph.operators:
            code = parsed.operatorCodes[operator.opcodeIndex].builtinCode
            if code != schema.BuiltinOperator.FULLY_CONNECTED:
                continue
            tensor = graph.tensors[operator.inputs[1]]
            values = _whole_numbers_in(parsed, tensor, done)
            if values is not None:
                parsed.buffers[tensor.buffer].data = values.view(np.uint8)
                tensor.quantization.scale = [1.0]
                tensor.quantization.zeroPoint = [0]
                done.add(tensor.buffer)
    return pack(parsed)


def _whole_numbers_in(parsed, tensor, done):
    """Return the numbers of a bank as int8; None of any other weights."""
    if tensor.type != schema.TensorType.INT8 or tensor.quantization is None:
        return None
    scales = np.asarray(tensor.quantization.scale, np.float64)
    data = parsed.buffers[tensor.buffer].data
    if data is None or len(scales) != tensor.shape[0]:
        return None
    if tensor.buffer in done:  # Shared by two signatures.
        return np.asarray(data, np.uint8).view(np.int8)
    stored = np.asarray(data, np.uint8).view(np.int8).reshape(tensor.shape)
    exact = stored * scales[:, None]
    whole = np.round(exact)
    near = np.abs(exact - whole) <= scales[:, None] * 0.501 + 1e-6
    # Scales above one would make anything look like whole numbers.
    if not near.all() or not whole.any() or scales.max() > 1.001:
        return None
    return whole.astype(np.int8).ravel()
