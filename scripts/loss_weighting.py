#!/usr/bin/env python3
"""Measures what configs/text_loss_weighting.yaml learns, by `mixflow sweep configs/sweeps/loss_weighting.yaml`: how well
the scores of the trained network tell held-out text from random bytes (AUC), by a scoring network of its own in NumPy, and
whether models trained with the learned weights beat models trained without weights at equal steps (`mixflow report`).

    scripts/loss_weighting.py [--out DIR] [--examples 400] [--binary FILE]

A sweep that is in --out (default: runs/loss-weighting) is not run again. NumPy is installed into build/venv where it is
missing. Exit code 1 if the AUC is below 0.95 or weights do not help."""

import argparse
import json
import pathlib
import sys

import tools

tools.need("numpy", "yaml")

import numpy as np  # noqa: E402
import yaml  # noqa: E402

LEAST_AUC = 0.95
SWEEP = tools.ROOT / "configs" / "sweeps" / "loss_weighting.yaml"
VALUES = [f"eval_after.loss_after_{steps}" for steps in (0, 4, 40)]
TABLE = ("--rows", "name", "--value", ",".join(VALUES))


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


def run_auc(run, examples):
    """How well the scores of a trained run tell text from noise."""
    settings = yaml.safe_load((run / "config.yaml").read_text())
    sequence, heads = settings["data"]["sequence"], settings["meta"]["parameters"][0]["model"]["heads"]
    phi = last_checkpoint(run)
    rng = np.random.default_rng(settings["seed"])
    text = held_out_text(settings["data"]["path"], settings["data"]["test"])
    starts = rng.integers(0, len(text) - sequence, examples)
    clean = scores(phi, np.stack([text[s : s + sequence] for s in starts]), heads)
    noise = scores(phi, rng.integers(0, 256, (examples, sequence)), heads)
    return settings["seed"], auc(clean, noise)


def mean_losses(binary, out):
    """{name: {value: mean over the seeds}}, in the order of VALUES."""
    report = json.loads(tools.mixflow(binary, "report", out, *TABLE, "--json"))
    return {
        cell["row"]["name"]: {value: cell["values"][value]["value"] for value in VALUES}
        for cell in report["table"]["cells"]
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    tools.add_binary(parser)
    parser.add_argument("--out", type=pathlib.Path, default=tools.ROOT / "runs" / "loss-weighting")
    parser.add_argument("--examples", type=int, default=400, help="of each sort (default: 400)")
    arguments = parser.parse_args()
    binary, out = tools.check_binary(arguments.binary), arguments.out.resolve()
    tools.mixflow(binary, "sweep", SWEEP, "--out", out, "--quiet")
    print(tools.mixflow(binary, "report", out, *TABLE).split("\n\n", 1)[1])
    wrong = []
    for run in sorted((out / "points").glob("name=weighted*")):
        seed, found = run_auc(run, arguments.examples)
        print(f"seed {seed}: AUC {found:.4f}")
        if found < LEAST_AUC:
            wrong.append(f"seed {seed}: AUC {found:.4f} < {LEAST_AUC}")
    losses = mean_losses(binary, out)
    for value in VALUES[1:]:
        if not losses["weighted"][value] < losses["unweighted"][value]:
            wrong.append(f"{value}: weights do not help")
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
