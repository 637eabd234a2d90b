"""What is in a `.tflite` file: who computes its operators, how old a runtime
it needs."""

from __future__ import annotations

from collections import Counter

from ai_edge_litert.interpreter import Interpreter

from cckeras.export.flatbuffer import unpack

DELEGATE = "DELEGATE"
MINIMUM_RUNTIME = b"min_runtime_version"


def oldest_runtime(model: bytes) -> str:
    """Return the oldest TensorFlow Lite version that knows every operator.

    The converter derives it from the operators' versions.
    """
    parsed = unpack(model)
    for entry in parsed.metadata or ():
        if entry.name == MINIMUM_RUNTIME:
            return (
                bytes(parsed.buffers[entry.buffer].data).rstrip(b"\0").decode()
            )
    raise ValueError("the converter stored no minimum runtime version")


def operators_left_out(interpreter: Interpreter) -> dict[str, int]:
    """Return `{operator: count}` of what XNNPACK does not compute.

    Args:
        interpreter: with its tensors allocated; of the first signature.
    """
    # LiteRT lists the operators, and behind them those that replaced some. It
    # does not say which: they are those between a delegate's outputs and inputs.
    nodes = interpreter._get_ops_details()
    delegates = [node for node in nodes if node["op_name"] == DELEGATE]
    originals = [node for node in nodes if node["op_name"] != DELEGATE]
    producers = {
        int(tensor): node for node in originals for tensor in node["outputs"]
    }
    replaced = set()
    for delegate in delegates:
        inputs = {int(tensor) for tensor in delegate["inputs"]}
        wanted = [int(tensor) for tensor in delegate["outputs"]]
        while wanted:
            node = producers.get(wanted.pop())
            if node is None or node["index"] in replaced:
                continue
            replaced.add(node["index"])
            wanted += [
                int(tensor)
                for tensor in node["inputs"]
                if int(tensor) not in inputs
            ]
    return dict(
        Counter(
            node["op_name"]
            for node in originals
            if node["index"] not in replaced
        )
    )
