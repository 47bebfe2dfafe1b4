#!/usr/bin/env python3
"""Records host/tests/data/transformers-*.onnx: tiny BERT classifiers as Transformers and torch.onnx export them.

usage: record-foreign-onnx.py   (needs torch, transformers, onnx)

Prints the logits that host/tests/foreign_onnx.rs expects. Weights are random.
"""
import argparse
from pathlib import Path

argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()

import torch
from transformers import BertConfig, BertForSequenceClassification

DATA = Path(__file__).parent.parent / "host/tests/data"


class TwoInputs(torch.nn.Module):
    """int32 inputs, the mask first, no token type ids."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, attention_mask, input_ids):
        return self.model(input_ids.long(), attention_mask=attention_mask.long()).logits


def export(name, model, inputs):
    with torch.no_grad():
        result = model(*inputs.values())
    print(name, [round(x, 6) for x in getattr(result, "logits", result)[0].tolist()])
    axes = {n: {0: "batch", 1: "sequence"} for n in inputs}
    torch.onnx.export(
        model, tuple(inputs.values()), DATA / name, dynamo=False, opset_version=17,
        input_names=list(inputs), output_names=["logits"], dynamic_axes=axes,
    )


torch.manual_seed(0)
config = BertConfig(
    vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24,
    max_position_embeddings=24, num_labels=3,
)
model = BertForSequenceClassification(config).eval()
for p in model.parameters():
    if p.ndim > 1:
        p.data.uniform_(-0.5, 0.5)
ids = torch.arange(1, 12)[None]
mask = torch.ones_like(ids)
types = (ids > 6).long()
export("transformers-bert.onnx", model, {"input_ids": ids, "attention_mask": mask, "token_type_ids": types})
export("transformers-two-inputs.onnx", TwoInputs(model), {"mask": mask.int(), "ids": ids.int()})
