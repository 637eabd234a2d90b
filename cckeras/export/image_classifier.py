"""TFLite metadata of an image classifier: what MediaPipe and ML Kit read.

They open a model with one input and one output if a FlatBuffer inside it
(`ModelMetadata`, schema in mediapipe/tasks/metadata/metadata_schema.fbs) says
how pictures are normalised and which file in the zip behind it holds the
labels.
"""

from __future__ import annotations

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from cckeras.export.flatbuffer import pack, unpack

LABELS = "labels.txt"
_NAME = "TFLITE_METADATA"
_IDENTIFIER = b"M001"
_OLDEST_PARSER = "1.0.0"
# Numbers of the schema's enumerations and union members.
_AXIS_LABELS, _RGB = 2, 1
_FEATURES, _IMAGE, _NORMALIZATION = 1, 2, 1


def with_metadata(model: bytes, title: str) -> bytes:
    """Return a model with the metadata of an image classifier.

    Pictures are given as they are, 0..255: normalisation is in the network.

    Args:
        model: a `.tflite` file with one signature.
        title: the classifier's name.
    """
    parsed = unpack(model)
    buffer = schema.BufferT()
    buffer.data = list(_model_metadata(title))
    parsed.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name, entry.buffer = _NAME, len(parsed.buffers) - 1
    parsed.metadata = [*(parsed.metadata or ()), entry]
    return pack(parsed)


def _model_metadata(title):
    build = _Tables()
    image = build.table(
        build.string("image"),
        build.string("RGB, 0..255"),
        None,
        build.table(("byte", _IMAGE), build.table(("byte", _RGB))),
        build.vector(
            build.table(
                ("byte", _NORMALIZATION),
                build.table(build.floats(0.0), build.floats(1.0)),
            )
        ),
        build.table(build.floats(255.0), build.floats(0.0)),
    )
    labels = build.table(
        build.string(LABELS), build.string("classes"), ("byte", _AXIS_LABELS)
    )
    probability = build.table(
        build.string("probability"),
        build.string("of each class"),
        None,
        build.table(("byte", _FEATURES), build.table()),
        None,
        build.table(build.floats(1.0), build.floats(0.0)),
        build.vector(labels),
    )
    network = build.table(
        None, None, build.vector(image), build.vector(probability)
    )
    root = build.table(
        build.string(title),
        None,
        None,
        build.vector(network),
        None,
        None,
        None,
        build.string(_OLDEST_PARSER),
    )
    return build.finish(root)


class _Tables:
    """Builds FlatBuffer tables from their fields in the schema's order."""

    def __init__(self):
        self._builder = flatbuffers.Builder(1024)

    def string(self, text):
        return self._builder.CreateString(text)

    def floats(self, *values):
        self._builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            self._builder.PrependFloat32(value)
        return self._builder.EndVector()

    def vector(self, *tables):
        self._builder.StartVector(4, len(tables), 4)
        for table in reversed(tables):
            self._builder.PrependUOffsetTRelative(table)
        return self._builder.EndVector()

    def table(self, *fields):
        """Return a table; a field is an offset, `("byte", value)` or None."""
        self._builder.StartObject(len(fields))
        for slot, field in enumerate(fields):
            if isinstance(field, tuple):
                self._builder.PrependUint8Slot(slot, field[1], 0)
            elif field is not None:
                self._builder.PrependUOffsetTRelativeSlot(slot, field, 0)
        return self._builder.EndObject()

    def finish(self, root):
        self._builder.Finish(root, _IDENTIFIER)
        return self._builder.Output()
