"""What a file says of itself: `metadata.json`, in a zip behind the model.

LiteRT reads the model from the front and never sees the zip; zip readers look
for theirs from the end. So the file stays one file (docs/export.md).
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path

from cckeras.errors import InputError
from cckeras.runs import files
from cckeras.schemas import check_schema

NAME = "metadata.json"
FORMAT = 1
LARGEST_MODEL = 1 << 31


def append(model: bytes, metadata: dict, others=None) -> bytes:
    """Return a model with its metadata, checked against the schema.

    Args:
        model: content of the `.tflite` file.
        metadata: as the schema `tflite` describes it.
        others: `{name: content}` of more files in the zip.
    """
    check_schema("tflite", metadata, NAME)
    content = io.BytesIO()
    content.write(model)
    # Appending: offsets in the zip count from the start of the whole file.
    text = json.dumps(metadata, indent=1).encode()
    with zipfile.ZipFile(content, "a") as archive:
        for name, value in {NAME: text, **(others or {})}.items():
            # With a fixed date: the same bytes every time.
            archive.writestr(zipfile.ZipInfo(name), value)
    return content.getvalue()


def read(path: Path) -> dict:
    """Return the metadata of a file.

    Raises:
        InputError: if it is missing, damaged, not ours or of a newer format.
    """
    try:
        content = files.read(path, LARGEST_MODEL)
    except OSError as error:
        raise InputError(
            f"Expected a .tflite file. Received: {path}: {error.strerror}. "
            "Check the path."
        ) from error
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if archive.getinfo(NAME).file_size > files.LARGEST_RECORD:
                raise ValueError("too large")
            metadata = json.loads(archive.read(NAME))
    except (KeyError, ValueError, zipfile.BadZipFile, RuntimeError) as error:
        raise InputError(
            f"Expected a .tflite file of tools/export_tflite.py. Received: "
            f"{path}, which holds no readable {NAME}. Export it again."
        ) from error
    version = metadata.get("format") if isinstance(metadata, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise InputError(
            f"Expected a file of format {FORMAT} or older. Received: {path} of "
            f"format {version}. Update cckeras."
        )
    check_schema("tflite", metadata, path)
    model = content[: metadata["model_bytes"]]
    if hashlib.sha256(model).hexdigest() != metadata["model_sha256"]:
        raise InputError(
            f"Expected {path} to be as it was exported. Received: a damaged "
            "file (the model's SHA-256 differs). Export it again."
        )
    return metadata
