"""A `.tflite` file as objects, and back."""

from __future__ import annotations

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

_IDENTIFIER = b"TFL3"


def unpack(model: bytes) -> schema.ModelT:
    """Return the objects in a `.tflite` file's bytes."""
    return schema.ModelT.InitFromPackedBuf(model, 0)


def pack(parsed: schema.ModelT) -> bytes:
    """Return a `.tflite` file's bytes."""
    builder = flatbuffers.Builder()
    builder.Finish(parsed.Pack(builder), _IDENTIFIER)
    return bytes(builder.Output())
