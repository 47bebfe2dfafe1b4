"""Reads labelled texts for the checks: .csv and .tsv with a header, .jsonl, .txt as label<TAB>text without a header.

Run with a file, it prints the texts, one per line.
"""
import csv
import json
import pathlib
import struct
import sys

TEXT = ("text", "text_a", "sentence", "sentence1")
PAIR = ("text_b", "sentence2")
LABEL = ("label", "labels", "score")


def read(path):
    """A list of (text, second text or None, label); the label is a string, or a list of strings (multi-label)."""
    path = pathlib.Path(path)
    with open(path, encoding="utf-8-sig", newline="") as file:
        if path.suffix == ".jsonl":
            rows = [json.loads(line) for line in file if line.strip()]
        elif path.suffix == ".txt":
            rows = [dict(zip(("label", "text"), line.rstrip("\r\n").split("\t", 1))) for line in file]
        else:
            rows = list(csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ","))
    if not rows:
        raise SystemExit(f"{path}: no rows")

    def column(names, required=True):
        for name in names:
            if name in rows[0]:
                return name
        if required:
            raise SystemExit(f"{path}: no column named {' or '.join(names)}; it has {', '.join(rows[0])}")
        return None

    text, pair, label = column(TEXT), column(PAIR, required=False), column(LABEL)
    return [(row[text], row[pair] if pair else None, row[label]) for row in rows]


def records(path):
    """Our classify --format jsonl --logits, as a list of (label, [logits]); logits are the hex digits of the f32 bits."""
    result = []
    for line in open(path, encoding="utf-8"):
        record = json.loads(line)
        if "error" in record:
            result.append((None, None))
            continue
        logits = [struct.unpack(">f", bytes.fromhex(bits))[0] for bits in record["logits"]]
        result.append((record.get("label"), logits))
    return result


if __name__ == "__main__":
    print(*(text for text, *_ in read(sys.argv[1])), sep="\n")
