#!/usr/bin/env python3
"""Records what Hugging Face's BertForSequenceClassification and MPNetForSequenceClassification compute for tiny random models.

usage: scripts/reference-forward.py [--out host/tests/data/hf_reference] [--check]

Needs torch and transformers; the host's tests read only the recorded files. --check recomputes every case and
compares it with what is recorded (to 1e-6) instead of writing.

Each case is a folder case_NAME/, float32, eval mode (dropout off):
  config.json        the model's configuration as Transformers writes it (problem_type, id2label)
  model.safetensors  parameters under Hugging Face names (bert.embeddings..., bert.encoder..., bert.pooler..., classifier...)
  io.json            {"input_ids": [[..]], "attention_mask": [[..]], "token_type_ids": [[..]],    batch x tokens
                      "labels": [..] or [[..]],   class ids; 0/1 rows (multi-label); numbers (regression)
                      "logits": [[..]],           batch x labels
                      "loss": x,                  cross entropy, binary cross entropy, or mean squared error
                      "gradient_norms": {name: L2 norm of the loss's gradient for that parameter},   all parameters
                                          (of a key bias it is zero but for rounding: softmax does not see it)
                      "versions": {"torch": .., "transformers": ..}}
Weights are drawn larger than BERT's usual 0.02 so that attention, GELU and biases matter to the logits. With two labels Transformers leaves id2label out of config.json.
"""
import argparse
import json
import pathlib
import sys
import tempfile

import torch
import transformers
from transformers import BertConfig, BertForSequenceClassification, MPNetConfig, MPNetForSequenceClassification

ROOT = pathlib.Path(__file__).resolve().parent.parent
TINY = dict(vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
            max_position_embeddings=40)


SMALL = dict(hidden_size=16, num_attention_heads=2, intermediate_size=32)

# name: (changes to TINY, problem type, number of labels, lengths of the texts in the batch, two texts each)
CASES = {
    "single_label": ({}, "single_label_classification", 3, [9, 9], False),
    "one_token": (SMALL, "single_label_classification", 2, [1], False),
    "multi_label": (SMALL, "multi_label_classification", 5, [12, 7, 10], False),
    "regression": (SMALL, "regression", 1, [8, 5], False),
    "pair_with_padding": (SMALL, "single_label_classification", 2, [16, 11, 5, 16], True),
    "deeper_narrower": ({**SMALL, "num_hidden_layers": 4, "intermediate_size": 20}, "single_label_classification", 4,
                        [13, 20], False),
    "wide_ffn_one_head": (dict(hidden_size=12, num_hidden_layers=1, num_attention_heads=1, intermediate_size=60),
                          "single_label_classification", 6, [40, 3], False),
    # as long as the positions allow, which count from 2, so that every bucket of distances occurs
    "mpnet": (dict(model_type="mpnet", hidden_size=16, max_position_embeddings=130), "single_label_classification", 3,
              [128, 11], False),
}


def model_for(changes, problem, labels, seed):
    settings = {**TINY, **changes, "num_labels": labels, "problem_type": problem}
    torch.manual_seed(seed)
    if settings.pop("model_type", "bert") == "mpnet":
        model = MPNetForSequenceClassification(MPNetConfig(**settings)).eval()
    else:
        model = BertForSequenceClassification(BertConfig(**settings)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn_like(parameter)
            if name.endswith("LayerNorm.weight"):
                parameter.copy_(1 + 0.2 * noise)
            elif name.endswith("bias"):
                parameter.copy_(0.2 * noise)
            elif "relative_attention_bias" in name:
                parameter.copy_(noise)
            else:
                parameter.copy_(noise * 1.5 / parameter.shape[-1] ** 0.5)
    return model


def inputs_for(config, lengths, pair):
    """Padded as a tokenizer pads: the id of the padding, mask 0, type 0. A pair's second half has token type 1."""
    longest = max(lengths)
    ids, mask, types = (torch.zeros(len(lengths), longest, dtype=torch.long) for _ in range(3))
    ids += config.pad_token_id
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.randint(config.pad_token_id + 1, config.vocab_size, (length,))
        mask[row, :length] = 1
        if pair:
            types[row, length // 2:length] = 1
    return dict(input_ids=ids, attention_mask=mask, token_type_ids=types)


def labels_for(problem, labels, batch):
    if problem == "single_label_classification":
        return torch.randint(0, labels, (batch,))
    if problem == "multi_label_classification":
        return torch.randint(0, 2, (batch, labels)).float()
    return torch.rand(batch) * 5


def record(folder, index, changes, problem, labels, lengths, pair):
    model = model_for(changes, problem, labels, seed=1000 + index)
    inputs = inputs_for(model.config, lengths, pair)
    targets = labels_for(problem, labels, len(lengths))
    read = {key: value for key, value in inputs.items() if key != "token_type_ids" or model.config.model_type == "bert"}
    result = model(**read, labels=targets)
    result.loss.backward()
    model.save_pretrained(folder)
    for extra in folder.iterdir():
        if extra.name not in ("config.json", "model.safetensors"):
            extra.unlink()
        else:
            extra.chmod(0o644)
    values = {key: value.tolist() for key, value in inputs.items()}
    values["labels"] = targets.tolist()
    values["logits"] = result.logits.tolist()
    values["loss"] = result.loss.item()
    values["gradient_norms"] = {name: p.grad.norm().item() for name, p in model.named_parameters()}
    values["versions"] = {"torch": torch.__version__, "transformers": transformers.__version__}
    (folder / "io.json").write_text(json.dumps(values, indent=None) + "\n")


def differences(recorded, now, path=""):
    """Yields the places where two JSON values differ by more than 1e-6 (relative above 1); of gradient norms, which
    processors sum in other orders, by more than 3e-6."""
    if isinstance(recorded, dict):
        for key in recorded.keys() | now.keys():
            if key != "versions":
                yield from differences(recorded.get(key), now.get(key), f"{path}.{key}")
    elif isinstance(recorded, list) and isinstance(now, list) and len(recorded) == len(now):
        for i, (a, b) in enumerate(zip(recorded, now)):
            yield from differences(a, b, f"{path}[{i}]")
    elif isinstance(recorded, float) and isinstance(now, float):
        if abs(recorded - now) > (3e-6 if ".gradient_norms" in path else 1e-6) * max(1.0, abs(recorded)):
            yield f"{path}: {recorded} recorded, {now} now"
    elif recorded != now:
        yield f"{path}: {recorded} recorded, {now} now"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "host/tests/data/hf_reference", help="folder of the cases")
    parser.add_argument("--check", action="store_true", help="compare with the recorded cases, write nothing")
    args = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    failed = False
    for index, (name, case) in enumerate(CASES.items()):
        if not args.check:
            folder = args.out / f"case_{name}"
            folder.mkdir(parents=True, exist_ok=True)
            record(folder, index, *case)
            print(f"{folder}: {sum(f.stat().st_size for f in folder.iterdir()):,} bytes")
            continue
        with tempfile.TemporaryDirectory() as temporary:
            record(pathlib.Path(temporary), index, *case)
            recorded = json.loads((args.out / f"case_{name}" / "io.json").read_text())
            wrong = list(differences(recorded, json.loads((pathlib.Path(temporary) / "io.json").read_text())))
        print(f"{name}: {'as recorded' if not wrong else f'{len(wrong)} values differ, first {wrong[0]}'}")
        failed |= bool(wrong)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
