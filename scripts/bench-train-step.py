#!/usr/bin/env python3
"""Times one training step of PyTorch and of goldcrest side by side, on one thread, each in float32 and in bfloat16.

usage: scripts/bench-train-step.py [--goldcrest target/release/goldcrest] [--base FOLDER] [--rounds 3] [--steps 8]

Needs torch and transformers. The step: MiniLM-L6 (6 layers, hidden 384, 12 heads, FFN 1,536, 30,522 pieces), 2 labels,
batch 32 x 32 tokens of random ids, dropout 0.1, forward, backward, gradient clipping to 1, AdamW. In bfloat16: PyTorch
under autocast, goldcrest as it trains by default if the processor has AMX, else again in float32. All
alternate in rounds, so that a busy machine hurts each; each round's figure is the median of its steps, the result the
median of the rounds. Ours comes from `goldcrest bench-train --steps N --json`. Prints JSON with --json.
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

    def step(bf16):
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    return step


def time_torch(step, bf16, steps):
    times = []
    for _ in range(steps + 1):  # the first is the warm-up
        start = time.perf_counter()
        step(bf16)
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times[1:])


def time_ours(binary, base, bf16, steps):
    command = [binary, "bench-train", "--steps", str(steps), "--json"] + (["--base", base] if base else [])
    command += [] if bf16 else ["--f32"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}")
    result = json.loads(done.stdout)
    if bf16 and result["precision"] != "bf16":
        print("no AMX here: goldcrest trains in f32", file=sys.stderr)
    return result["ms_per_step"]


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
    rounds = {f"{who} {precision}": [] for precision in ("f32", "bf16") for who in ("PyTorch", "goldcrest")}
    for _ in range(args.rounds):
        for bf16 in (False, True):
            precision = "bf16" if bf16 else "f32"
            rounds[f"PyTorch {precision}"].append(time_torch(step, bf16, args.steps))
            rounds[f"goldcrest {precision}"].append(time_ours(args.goldcrest, args.base, bf16, args.steps))
    if args.json:
        print(json.dumps(dict(torch=torch.__version__, rounds_ms=rounds)))
        return 0
    print(f"PyTorch {torch.__version__}, milliseconds a step")
    medians = {name: statistics.median(times) for name, times in rounds.items()}
    for name, times in rounds.items():
        theirs = medians[name.replace("goldcrest", "PyTorch")]
        print(f"{name:<15}{medians[name]:8.1f}   {medians[name] / theirs:5.2f} of PyTorch   rounds {', '.join(f'{t:.1f}' for t in times)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
