#!/usr/bin/env python3
"""Loads a checkpoint folder in Transformers, scores labelled texts, and compares with our own logits.

usage: scripts/check-transformers.py FOLDER DATA [--ours OURS.jsonl] [--tolerance 1e-3] [--limit N]

Needs torch and transformers. FOLDER holds config.json, model.safetensors and the tokenizer files. DATA is .csv or
.tsv with a header (text or text_a and text_b; label, labels or score), .jsonl, or .txt with label<TAB>text.
OURS.jsonl has one record a row of DATA, as `goldcrest-edge classify --format jsonl --logits` or `goldcrest predict`
write them. Exit code 1 when a label or a logit differs by more than the tolerance.

Prints accuracy (single label), micro F1 (multi-label) or Pearson's correlation (regression).

examples:
  scripts/check-transformers.py runs/voice/student host/recipes/data/voice_commands.csv
  scripts/check-transformers.py runs/sst2/teacher ../shared/data/sst2/dev.csv --ours ours.jsonl
"""
import argparse
import math
import sys

import labelled
import torch
import transformers
from transformers import AutoModelForSequenceClassification, AutoTokenizer


def logits_of(model, tokenizer, rows, batch, max_tokens):
    """Rows x labels, in the rows' order; batches of like length."""
    result = [None] * len(rows)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][0]))
    for start in range(0, len(order), batch):
        part = order[start:start + batch]
        first = [rows[i][0] for i in part]
        second = [rows[i][1] for i in part] if rows[0][1] is not None else None
        inputs = tokenizer(first, second, padding=True, truncation=True, max_length=max_tokens, return_tensors="pt")
        with torch.inference_mode():
            for i, logits in zip(part, model(**inputs).logits.tolist()):
                result[i] = logits
    return result


def pearson(xs, ys):
    mx, my = sum(xs) / len(xs), sum(ys) / len(ys)
    cov = sum((x - mx) * (y - my) for x, y in zip(xs, ys))
    return cov / math.sqrt(sum((x - mx) ** 2 for x in xs) * sum((y - my) ** 2 for y in ys))


def score(config, logits, rows):
    """The line that says how good it is."""
    if config.problem_type == "regression":
        return f"pearson {pearson([l[0] for l in logits], [float(label) for *_, label in rows]):.4f}"
    if config.problem_type == "multi_label_classification":
        counts = [0, 0, 0]  # true positives, predicted, actual
        for values, (*_, labels) in zip(logits, rows):
            predicted = {config.id2label[i] for i, value in enumerate(values) if value > 0}
            counts[0] += len(predicted & set(labels))
            counts[1] += len(predicted)
            counts[2] += len(set(labels))
        return f"micro F1 {2 * counts[0] / max(1, counts[1] + counts[2]):.4f}"
    predicted = [config.id2label[max(range(len(l)), key=l.__getitem__)] for l in logits]
    right = sum(p == label for p, (*_, label) in zip(predicted, rows))
    return f"accuracy {right / len(rows):.4f} ({right} of {len(rows)})"


def compare(theirs, ours, tolerance):
    """Prints how far our logits are from theirs; true when within the tolerance."""
    if len(theirs) != len(ours):
        print(f"ours: {len(ours)} records for {len(theirs)} rows")
        return False
    if any(logits is None for _, logits in ours):
        print(f"ours: {sum(logits is None for _, logits in ours)} records are errors")
        return False
    worst = max(abs(a - b) for left, (_, right) in zip(theirs, ours) for a, b in zip(left, right, strict=True))
    top = sum(left.index(max(left)) != right.index(max(right)) for left, (_, right) in zip(theirs, ours))
    print(f"ours: largest difference of a logit {worst:.3g}, {top} of {len(ours)} labels differ")
    return worst <= tolerance and top == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("data")
    parser.add_argument("--ours", help="our records for the same rows, JSON Lines with logits")
    parser.add_argument("--tolerance", type=float, default=1e-3, help="allowed difference of a logit (default 1e-3)")
    parser.add_argument("--max-tokens", type=int, default=128, help="truncate to so many word pieces (default 128)")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--limit", type=int, help="only the first N rows")
    args = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    rows = labelled.read(args.data)[:args.limit]
    tokenizer = AutoTokenizer.from_pretrained(args.folder)
    model, loading = AutoModelForSequenceClassification.from_pretrained(
        args.folder, dtype=torch.float32, output_loading_info=True)
    for kind in ("missing_keys", "mismatched_keys"):
        if loading[kind]:
            raise SystemExit(f"{args.folder}: {kind.replace('_', ' ')}: {', '.join(map(str, loading[kind]))}")
    logits = logits_of(model.eval(), tokenizer, rows, args.batch, args.max_tokens)
    print(score(model.config, logits, rows))
    if args.ours and not compare(logits, labelled.records(args.ours)[:args.limit], args.tolerance):
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
