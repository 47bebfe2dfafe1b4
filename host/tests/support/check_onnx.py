#!/usr/bin/env python3
"""Checks exported models against ONNX Runtime.

usage: check_onnx.py MODEL.onnx...

Beside each MODEL.onnx lies MODEL.json: [{"ids": [...], "types": [...], "logits": [...]}, ...], texts and the logits
that the device's code gives. Each model must pass onnx.checker (full check) and give the same labels, one text at a
time and all of them in one padded batch. Prints the largest difference of a logit. Exit code 77: onnx or onnxruntime
is not installed.
"""
import json
import sys
from pathlib import Path

try:
    import numpy as np
    import onnx
    import onnxruntime
except ImportError as missing:
    print(missing, file=sys.stderr)
    sys.exit(77)

# int8: a value on the edge between two integers may go either way, which random weights carry on unweakened
TOLERANCE = {"fp32": 1e-5, "int8": 1e-1}
# which happens in some texts, not in most
USUAL = 1e-5


def run(session, texts):
    """Logits of texts in one batch, padded to the longest."""
    longest = max(len(t["ids"]) for t in texts)
    feeds = {n: np.zeros((len(texts), longest), np.int64) for n in ("input_ids", "attention_mask", "token_type_ids")}
    for row, text in enumerate(texts):
        n = len(text["ids"])
        feeds["input_ids"][row, :n] = text["ids"]
        feeds["token_type_ids"][row, :n] = text["types"]
        feeds["attention_mask"][row, :n] = 1
    return session.run(["logits"], feeds)[0]


def check(path):
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    domains = {node.domain for node in model.graph.node}
    assert domains == {""}, f"operators of other domains: {domains}"
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    texts = json.loads(path.with_suffix(".json").read_text())
    tolerance = TOLERANCE["int8" if any(n.op_type == "MatMulInteger" for n in model.graph.node) else "fp32"]
    alone = np.concatenate([run(session, [text]) for text in texts])
    wanted = np.array([text["logits"] for text in texts], np.float32)
    differences = []
    for found in (alone, run(session, texts)):
        of_texts = np.abs(found - wanted).max(axis=1)
        usual = float(np.median(of_texts))
        assert usual < USUAL, f"{path.name}: logits usually differ by {usual}"
        differences.append(float(of_texts.max()))
        assert differences[-1] < tolerance, f"{path.name}: logits differ by {differences[-1]}"
        same = of_texts < USUAL
        assert (found.argmax(axis=1) == wanted.argmax(axis=1))[same].all(), f"{path.name}: labels differ"
    print(f"{path.name}: {len(texts)} texts, difference {differences[0]:.1e} alone, {differences[1]:.1e} in a batch, {usual:.1e} usually")


for argument in sys.argv[1:]:
    check(Path(argument))
