#!/usr/bin/env python3
"""Measures what configs/text_loss_weighting.yaml learns: how well the scores of the trained network tell held-out text from
random bytes (AUC), by a scoring network of its own in NumPy, and whether models trained with the learned weights beat
models trained without weights at equal steps.

    scripts/loss_weighting.py [--config FILE] [--seeds 1,2,3] [--examples 400] [--binary FILE]

NumPy is installed into build/venv where it is missing. Exit code 1 if the AUC is below 0.95 or weights do not help."""

import argparse
import pathlib
import statistics
import sys
import tempfile

import tools

tools.need("numpy", "yaml")

import numpy as np  # noqa: E402
import yaml  # noqa: E402

LEAST_AUC = 0.95


def held_out_text(directory, test_share):
    """The end of each file, as data.kind text cuts it: what neither training nor the outer loss has seen."""
    files = sorted(p for p in pathlib.Path(directory).rglob("*") if p.is_file() and not p.is_symlink())
    ends = []
    for path in files:
        text = path.read_bytes()
        ends.append(text[len(text) - int(test_share * len(text)) :])
    return np.frombuffer(b"".join(ends), dtype=np.uint8).astype(np.int64)


def rms_norm(h, gain):
    return h / np.sqrt(np.mean(h * h, -1, keepdims=True) + 1e-6) * gain


def rotated(x):
    half = x.shape[-1] // 2
    angle = np.arange(x.shape[1])[:, None] * 10000.0 ** (-np.arange(half) / half)
    cos, sin = np.cos(angle)[:, None, :], np.sin(angle)[:, None, :]
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)


def scores(phi, tokens, heads):
    """The scoring network (no causal mask) on tokens [B, S]: [B]."""
    h = phi["embed"][tokens]
    B, S, d = h.shape
    for i in range(phi["blocks.wq"].shape[0]):
        block = {name: phi[f"blocks.{name}"][i] for name in ("norm1", "norm2", "wq", "wk", "wv", "wo", "w1", "w2")}
        a = rms_norm(h, block["norm1"])
        q, k, v = ((a @ block[name]).reshape(B, S, heads, -1) for name in ("wq", "wk", "wv"))
        s = np.einsum("bqhk,bthk->bhqt", rotated(q), rotated(k)) / np.sqrt(q.shape[-1])
        p = np.exp(s - s.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        h = h + np.einsum("bhqt,bthk->bqhk", p, v).reshape(B, S, -1) @ block["wo"]
        u = rms_norm(h, block["norm2"]) @ block["w1"]
        gelu = 0.5 * u * (1 + np.tanh(np.sqrt(2 / np.pi) * (u + 0.044715 * u**3)))
        h = h + gelu @ block["w2"]
    return rms_norm(h, phi["norm"]).mean(1) @ phi["score"]


def auc(clean, noise):
    """The share of pairs in which the clean example has the higher score; ties count half."""
    return float(np.mean((clean[:, None] > noise[None]) + 0.5 * (clean[:, None] == noise[None])))


def last_checkpoint(run):
    _, tensors = tools.read_safetensors(max((run / "checkpoints").glob("step-*.safetensors")))
    prefix = "eta.loss_weights."
    return {
        name[len(prefix) :]: np.frombuffer(data, dtype={"F32": "<f4", "F64": "<f8"}[dtype]).reshape(shape).astype(float)
        for name, (dtype, shape, data) in tensors.items()
        if name.startswith(prefix)
    }


def losses_after(run, line):
    points = tools.read_jsonl(run / "eval.jsonl")[line]["points"]
    return {p["inner_steps"]: p["loss"] for p in points}


def measure(binary, config, seed, examples, directory):
    resolved = directory / f"weighted-{seed}"
    seconds = tools.train(binary, resolved, config, "-s", f"seed={seed}")["seconds"]
    # The same inner training without weights: one meta-step on something else, evaluated before it.
    plain = directory / f"plain-{seed}"
    tools.train(
        binary, plain, config, "-s", f"seed={seed}", "-s", "meta.parameters=[{kind: lr}]", "-s", "meta.steps=1"
    )
    settings = yaml.safe_load((resolved / "config.yaml").read_text())
    sequence, heads = settings["data"]["sequence"], settings["meta"]["parameters"][0]["model"]["heads"]
    phi = last_checkpoint(resolved)
    rng = np.random.default_rng(seed)
    text = held_out_text(settings["data"]["path"], settings["data"]["test"])
    starts = rng.integers(0, len(text) - sequence, examples)
    clean = scores(phi, np.stack([text[s : s + sequence] for s in starts]), heads)
    noise = scores(phi, rng.integers(0, 256, (examples, sequence)), heads)
    return {
        "seed": seed,
        "seconds": seconds,
        "auc": auc(clean, noise),
        "weighted": losses_after(resolved, -1),
        "plain": losses_after(plain, 0),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    tools.add_binary(parser)
    parser.add_argument("--config", type=pathlib.Path, default=tools.ROOT / "configs" / "text_loss_weighting.yaml")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--examples", type=int, default=400, help="of each sort (default: 400)")
    arguments = parser.parse_args()
    binary = tools.check_binary(arguments.binary)
    rows = []
    print("| seed | seconds | AUC | inner steps | held-out loss without weights | with learned weights |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        for seed in map(int, arguments.seeds.split(",")):
            row = measure(binary, arguments.config, seed, arguments.examples, pathlib.Path(name))
            rows.append(row)
            for steps in row["weighted"]:
                print(
                    f"| {seed} | {row['seconds']:.0f} | {row['auc']:.4f} | {steps} | {row['plain'][steps]:.3f} |"
                    f" {row['weighted'][steps]:.3f} |",
                    flush=True,
                )
    wrong = [f"seed {r['seed']}: AUC {r['auc']:.4f} < {LEAST_AUC}" for r in rows if r["auc"] < LEAST_AUC]
    for steps in list(rows[0]["weighted"])[1:]:
        weighted = statistics.mean(r["weighted"][steps] for r in rows)
        plain = statistics.mean(r["plain"][steps] for r in rows)
        print(f"after {steps} inner steps, mean over seeds: {plain:.3f} without weights, {weighted:.3f} with")
        if not weighted < plain:
            wrong.append(f"after {steps} inner steps weights do not help")
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
