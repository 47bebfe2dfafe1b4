#!/usr/bin/env python3
"""Times one training step of PyTorch (float32) and of goldcrest side by side, on one thread.

usage: scripts/bench-train-step.py [--goldcrest target/release/goldcrest] [--base FOLDER] [--rounds 3] [--steps 8]

Needs torch and transformers. The step: MiniLM-L6 (6 layers, hidden 384, 12 heads, FFN 1,536, 30,522 pieces), 2 labels,
batch 32 x 32 tokens of random ids, dropout 0.1, forward, backward, gradient clipping to 1, AdamW. The two alternate in
rounds, so that a busy machine hurts both; each round's figure is the median of its steps, the result the median of the
rounds. Ours comes from `goldcrest bench-train --steps N --json`. Prints JSON with --json.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

os.environ["OMP_NUM_THREADS"] = os.environ["RAYON_NUM_THREADS"] = "1"  # before torch starts; children inherit it

import torch
from transformers import BertConfig, BertForSequenceClassification

from places import TARGET

BATCH, TOKENS = 32, 32


def torch_trainer(base):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if base:
        model = BertForSequenceClassification.from_pretrained(base, num_labels=2, dtype=torch.float32)
    else:
        model = BertForSequenceClassification(BertConfig(
            vocab_size=30522, hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536,
            max_position_embeddings=512, num_labels=2))
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, weight_decay=0.01)
    ids = torch.randint(1000, 30000, (BATCH, TOKENS))
    batch = dict(input_ids=ids, attention_mask=torch.ones_like(ids), labels=torch.randint(0, 2, (BATCH,)))

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    return step


def time_torch(step, steps):
    times = []
    for _ in range(steps + 1):  # the first is the warm-up
        start = time.perf_counter()
        step()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times[1:])


def time_ours(binary, base, steps):
    command = [binary, "bench-train", "--steps", str(steps), "--json"] + (["--base", base] if base else [])
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}")
    return json.loads(done.stdout)["ms_per_step"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--goldcrest", default=str(TARGET / "release/goldcrest"), help="the binary to time")
    parser.add_argument("--base", help="a checkpoint folder to start from (default: random weights)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8, help="timed steps a round")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if not pathlib.Path(args.goldcrest).exists():
        raise SystemExit(f"{args.goldcrest} is missing: cargo build --release")
    step = torch_trainer(args.base)
    theirs, ours = [], []
    for _ in range(args.rounds):
        theirs.append(time_torch(step, args.steps))
        ours.append(time_ours(args.goldcrest, args.base, args.steps))
    result = dict(torch=torch.__version__, torch_ms=statistics.median(theirs), goldcrest_ms=statistics.median(ours))
    result["ratio"] = result["goldcrest_ms"] / result["torch_ms"]
    if args.json:
        print(json.dumps(result | dict(torch_rounds=theirs, goldcrest_rounds=ours)))
    else:
        print(f"PyTorch {torch.__version__} f32  {result['torch_ms']:7.1f} ms a step   rounds {', '.join(f'{t:.1f}' for t in theirs)}")
        print(f"goldcrest           {result['goldcrest_ms']:7.1f} ms a step   rounds {', '.join(f'{t:.1f}' for t in ours)}")
        print(f"ratio               {result['ratio']:7.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
