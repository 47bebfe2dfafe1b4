#!/usr/bin/env python3
"""Checks an exported ONNX file: onnx.checker in full, then ONNX Runtime on texts, compared with our own records.

usage: scripts/check-onnx.py MODEL.onnx TOKENIZER.json TEXTS [--ours OURS.jsonl] [--tolerance 0.2]

Needs onnx, onnxruntime and tokenizers. TEXTS has one text per line. OURS.jsonl has one record for each line of TEXTS, as written
by `goldcrest-edge classify --format jsonl --logits`; error records are skipped. Exit code 1 if a logit differs by more than the
tolerance, or if a label differs although ours is not a tie within the tolerance.

example:
  goldcrest-edge classify --bundle voice.bundle --format jsonl --logits < texts.txt > ours.jsonl
  scripts/check-onnx.py runs/voice/model.int8.onnx runs/voice/student/tokenizer.json texts.txt --ours ours.jsonl
"""
import argparse
import json
import sys

import labelled
import numpy
import onnx
import onnxruntime
from tokenizers import Tokenizer


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("tokenizer")
    parser.add_argument("texts")
    parser.add_argument("--ours", help="our records for the same texts, JSON Lines with logits")
    parser.add_argument("--tolerance", type=float, default=0.2, help="allowed difference of a logit (default 0.2: int8 rounds elsewhere; 0.0001 for fp32)")
    parser.add_argument("--max-tokens", type=int, default=128, help="truncate to so many word pieces (default 128)")
    args = parser.parse_args()

    onnx.checker.check_model(args.model, full_check=True)
    graph = onnx.load(args.model)
    print(f"onnx.checker: clean; opset {graph.opset_import[0].version}, IR {graph.ir_version}, {len(graph.graph.node)} nodes")
    foreign = {node.domain for node in graph.graph.node} - {"", "ai.onnx"}
    if foreign:
        print(f"operators outside the standard: {', '.join(sorted(foreign))}")
        return 1

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(args.model, options, providers=["CPUExecutionProvider"])
    wanted = {i.name: numpy.int32 if i.type == "tensor(int32)" else numpy.int64 for i in session.get_inputs()}
    # as on the device, "[SEP]" inside a text is text: without added tokens none is matched before normalisation
    tokenizer = Tokenizer.from_str(json.dumps(json.load(open(args.tokenizer, encoding="utf-8")) | {"added_tokens": []}))
    tokenizer.no_padding()
    tokenizer.enable_truncation(args.max_tokens)
    # what is not UTF-8 has an error for a record
    texts = open(args.texts, encoding="utf-8", errors="replace", newline="\n").read().split("\n")
    if texts[-1] == "":
        texts.pop()
    ours = labelled.records(args.ours) if args.ours else [(None, None)] * len(texts)
    if len(ours) != len(texts):
        raise SystemExit(f"{args.ours}: {len(ours)} records for {len(texts)} texts")

    worst, wrong, compared = 0.0, 0, 0
    for text, (_, expected) in zip(texts, ours):
        encoded = tokenizer.encode(text)
        values = dict(input_ids=encoded.ids, attention_mask=encoded.attention_mask, token_type_ids=encoded.type_ids)
        feed = {name: numpy.array([values[name]], dtype=kind) for name, kind in wanted.items()}
        logits = session.run(None, feed)[0].reshape(-1)
        if expected is None:
            continue
        compared += 1
        worst = max(worst, float(numpy.abs(logits - numpy.array(expected)).max()))
        theirs = int(logits.argmax())
        wrong += max(expected) - expected[theirs] > args.tolerance
    print(f"ONNX Runtime {onnxruntime.__version__}: {len(texts)} texts")
    if args.ours:
        print(f"ours: {compared} compared, largest difference of a logit {worst:.3g}, {wrong} labels differ")
    return 1 if wrong or worst > args.tolerance or (args.ours and not compared) else 0


if __name__ == "__main__":
    sys.exit(main())
