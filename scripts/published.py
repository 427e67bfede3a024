#!/usr/bin/env python3
"""Runs the configs under configs/published/ and compares what they reach with the published figures.

    scripts/published.py [--quick | --only hypertorch,maml,metasgd,digits] [--threads N] [--binary FILE]

Prints one table, measured against published with its tolerance; exit code 1 if a figure is out of it. --quick leaves
out the two experiments that train for minutes (maml, metasgd). Data that are missing are written by
scripts/hypertorch_data.py and scripts/fetch_data.sh first."""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import tools

CONFIGS = tools.ROOT / "configs" / "published"
GRID = [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100]  # single learning rates that the learned ones must beat


class Table:
    def __init__(self):
        self.failed = 0

    def add(self, what, measured, reference, good):
        self.failed += not good
        print(f"| {what} | {measured} | {reference} | {'yes' if good else 'NO'} |", flush=True)

    def near(self, what, measured, reference, tolerance, digits, spread=""):
        good = abs(measured - reference) <= tolerance
        self.add(what, f"{measured:.{digits}f}{spread}", f"{reference:.{digits}f} ± {tolerance:g}", good)


class Runner:
    def __init__(self, binary, directory, threads):
        self.binary, self.directory, self.threads, self.count = binary, directory, threads, 0

    def train(self, config, *overrides):
        """(summary, run directory) of one run."""
        self.count += 1
        out = self.directory / f"run{self.count}"
        options = [option for override in overrides for option in ("-s", override)]
        start = time.monotonic()
        summary = tools.train(self.binary, out, CONFIGS / config, "--threads", self.threads, *options)
        if not overrides:
            print(f"{config}: {summary['steps']} meta-steps in {time.monotonic() - start:.0f} s", file=sys.stderr)
        return summary, out

    def loss_of_tasks(self, config, run, *overrides):
        """Mean outer loss of tasks that are new to the run: drawn from a seed of their own, its meta-parameters taken
        from its last checkpoint."""
        checkpoint = sorted((run / "checkpoints").glob("step-*.safetensors"))[-1]
        losses = []
        for seed in range(1001, 1005):
            options = [o for v in (*overrides, f"seed={seed}", "meta.batch=500") for o in ("-s", v)]
            report = tools.mixflow(self.binary, "grad", CONFIGS / config, "--in", checkpoint, "--json", *options)
            losses.append(json.loads(report)["outer_loss"])
        return sum(losses) / len(losses)


def point(evaluation, inner_steps):
    return next(p for p in evaluation["points"] if p["inner_steps"] == inner_steps)


def hypertorch(run, table):
    if not (tools.ROOT / "data" / "hypertorch_x.npy").exists():
        tools.need("numpy")
        subprocess.run([sys.executable, tools.ROOT / "scripts" / "hypertorch_data.py"], cwd=tools.ROOT, check=True,
                       stdout=subprocess.DEVNULL)  # fmt: skip
    _, out = run.train("hypertorch_logistic_l2.yaml")
    losses = {line["step"]: line["meta_loss"] for line in tools.read_jsonl(out / "metrics.jsonl")}
    # The reference counts meta-steps from 0.
    table.near("l2 per weight, logistic regression: validation loss, step 0", losses[1], 0.5743989632, 1e-7, 10)
    table.near("the same, step 990", losses[991], 0.2805064580, 1e-7, 10)


def maml(run, table):
    """The median of five seeds: five steps of plain gradient descent diverge on a rare task, whose loss then governs
    the mean of all."""
    runs = [run.train("maml_sine.yaml", f"seed={seed}")[0]["eval_after"] for seed in range(1, 6)]
    for steps, reference, tolerance in ((0, 2.9, 0.6), (1, 0.41, 0.06), (5, 0.15, 0.03)):
        losses = sorted(point(evaluation, steps)["loss"] for evaluation in runs)
        what = f"MAML on sinusoids, K = 10: test MSE after {steps} inner steps, median of 5 seeds"
        table.near(what, statistics.median(losses), reference, tolerance, 3, f" ({losses[0]:.3f} to {losses[-1]:.3f})")


def metasgd(run, table):
    losses = {}
    for config in ("maml_sine_k5.yaml", "meta_sgd_sine.yaml"):
        _, out = run.train(config)
        for shots in (5, 10, 20):
            overrides = (f"data.shots={shots}", "data.queries=100")
            losses[config, shots] = run.loss_of_tasks(config, out, *overrides)
    for shots in (5, 10, 20):
        theirs, ours = losses["maml_sine_k5.yaml", shots], losses["meta_sgd_sine.yaml", shots]
        what = f"Meta-SGD ÷ MAML, trained with K = 5, test K = {shots}: ratio of test MSE"
        table.add(what, f"{ours / theirs:.3f} ({ours:.3f} ÷ {theirs:.3f})", "at most 0.85", ours <= 0.85 * theirs)


def digits(run, table):
    if not (tools.ROOT / "data" / "digits_x.npy").exists():
        subprocess.run([tools.ROOT / "scripts" / "fetch_data.sh", "digits"], check=True, stdout=subprocess.DEVNULL)
    config = "digits_per_parameter_lr.yaml"
    learned = point(run.train(config)[0]["eval_after"], 5)
    single = {}
    for rate in GRID:
        # What the run reports before its first meta-step is training with one rate for all weights.
        summary, _ = run.train(config, f"inner.optimizer.lr={rate}", "meta.steps=1")
        single[rate] = point(summary["eval_before"], 5)
    by_loss = min(single, key=lambda rate: single[rate]["loss"])
    by_accuracy = max(single, key=lambda rate: single[rate]["accuracy"])
    for what, rate, key, sign in (("loss", by_loss, "loss", 1), ("accuracy", by_accuracy, "accuracy", -1)):
        reference = single[rate][key]
        table.add(
            f"learning rates per weight, real digits: held-out {what} after 5 steps",
            f"{learned[key]:.4f}",
            f"better than {reference:.4f} (rate {rate:g}, the best of {len(GRID)})",
            sign * learned[key] < sign * reference,
        )


def main():
    experiments = {"hypertorch": hypertorch, "digits": digits, "maml": maml, "metasgd": metasgd}
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    tools.add_binary(parser)
    parser.add_argument("--only", help=f"some of {','.join(experiments)}")
    parser.add_argument("--threads", type=int, default=0, help="0: all cores")
    parser.add_argument("--quick", action="store_true", help="hypertorch and digits")
    arguments = parser.parse_args()
    chosen = arguments.only.split(",") if arguments.only else list(experiments)[: 2 if arguments.quick else None]
    unknown = set(chosen) - experiments.keys()
    if unknown:
        parser.error(f"--only: {', '.join(sorted(unknown))}: expected some of {', '.join(experiments)}")
    binary = tools.check_binary(arguments.binary)
    table = Table()
    print("| figure | measured | published | within |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as directory:
        runner = Runner(binary, pathlib.Path(directory), arguments.threads)
        for name in chosen:
            experiments[name](runner, table)
    return 1 if table.failed else 0


if __name__ == "__main__":
    sys.exit(main())
