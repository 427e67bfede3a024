#!/usr/bin/env python3
"""Resume, tested the hard way: runs that are killed at random moments and continued must end with the same bytes as
a run that nobody touched.

    scripts/resume_test.py [--kills 20] [--quick] [--threads N] [--seed S] [--binary FILE]

For each of five experiments (generated here, no data to fetch): one uninterrupted run; then runs that get SIGKILL at
a random moment, and again after each `--resume`, until they are done; then one run that gets SIGINT, which must exit
with 130 and leave a checkpoint of the step that it reports. Compared byte for byte with the uninterrupted run: the
tensors of the last checkpoint, its counters, every line of metrics.jsonl and eval.jsonl and every TensorBoard event,
without what measures time or the process's memory. --quick: 5 kills, shorter runs. Needs Python's standard library
only."""

import argparse
import json
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

import tools

EVENTS = "events.out.tfevents.mixflow"
MEASURED = {"step_s", "wall_s", "gflops", "mfu", "examples_per_s", "rss_bytes"}


def configs(directory, steps):
    """Experiments that differ in data, inner optimiser, meta-parameters, schedule and evaluation."""
    rng = random.Random(3)
    rows = ["a,b,c,label"]
    for _ in range(300):
        x = [rng.gauss(0, 1) for _ in range(3)]
        rows.append(",".join(f"{v:.6f}" for v in x) + f",{int(x[0] > 0) + 2 * int(x[1] > 0)}")
    (directory / "rows.csv").write_text("\n".join(rows) + "\n")
    table = {"x": str(directory / "rows.csv"), "target_column": "label"}
    (directory / "text").mkdir()
    for part in ("a", "b"):
        words = (rng.choice(["one", "two", "three", "\n"]) for _ in range(2000))
        (directory / "text" / f"{part}.txt").write_text(" ".join(words))
    evaluated = {"every": steps // 7, "tasks": 20}
    common = {"batch": 8, "checkpoint_every": max(steps // 40, 1), "eval": evaluated}
    return {
        "sinusoid, sgd, init": {
            "data": {"kind": "sinusoid"},
            "model": {"kind": "mlp", "hidden": [40, 40]},
            "inner": {"steps": 2, "optimizer": {"kind": "sgd", "lr": 0.01}},
            "meta": {"parameters": [{"kind": "init"}], "steps": 4 * steps, **common},
        },
        "tabular, adam, lr per parameter": {
            "data": {"kind": "tabular", "batch": 32, **table},
            "model": {"kind": "mlp", "hidden": [16], "activation": "tanh"},
            "inner": {"loss": "cross_entropy", "steps": 10, "optimizer": {"kind": "adam", "lr": 0.01}},
            "meta": {
                "parameters": [{"kind": "lr", "granularity": "per_parameter", "transform": "exp"}],
                "schedule": {"kind": "cosine", "warmup": 10},
                "steps": steps,
                **common,
            },
        },
        "sinusoid, momentum, init and lr per step": {
            "data": {"kind": "sinusoid", "frequency": [0.8, 1.2]},
            "model": {"kind": "mlp", "hidden": [32, 32], "activation": "silu"},
            "inner": {"steps": 5, "optimizer": {"kind": "momentum", "lr": 0.005}},
            "meta": {
                "parameters": [{"kind": "init"}, {"kind": "lr", "granularity": "per_step", "transform": "exp"}],
                "optimizer": {"kind": "momentum", "lr": 1e-3},
                "clip_norm": 1,
                "steps": steps,
                **common,
            },
        },
        "tabular, adam, carried inner state": {
            "data": {"kind": "tabular", "batch": 16, **table},
            "model": {"kind": "mlp", "hidden": [16], "activation": "tanh"},
            "inner": {
                "loss": "cross_entropy",
                "steps": 2,
                "reset_every": steps // 3,
                "optimizer": {"kind": "adam", "lr": 0.01},
            },
            "meta": {
                "parameters": [{"kind": "lr", "granularity": "per_tensor", "transform": "exp"}, {"kind": "beta1"}],
                "steps": 2 * steps,
                **common,
            },
        },
        "text, momentum, transformer, loss weights": {
            "data": {"kind": "text", "path": str(directory / "text"), "sequence": 8, "batch": 4, "outer_batch": 2},
            "model": {"kind": "transformer", "vocab": 256, "d_model": 8, "ffw": 8, "heads": 2, "kv_size": 4, "layers": 1},
            "inner": {"steps": 2, "optimizer": {"kind": "momentum", "lr": 0.1}},
            "meta": {
                "parameters": [
                    {
                        "kind": "loss_weights",
                        "model": {
                            "kind": "transformer", "d_model": 8, "ffw": 8, "heads": 1, "kv_size": 4, "layers": 1
                        },
                    }
                ],
                "steps": steps // 2,
                **common,
                "batch": 2,
            },
        },
    }


def without_measures(values):
    return {k: v for k, v in values.items() if k not in MEASURED}


def timeless(path):
    """The lines of a .jsonl file, or the events, without what is measured."""
    if path.name == EVENTS:
        return [(step, version, without_measures(values)) for step, version, values in tools.read_events(path)]
    return [json.dumps(without_measures(line)) for line in tools.read_jsonl(path)]


def checkpoint(run):
    """(step, metadata that counts, tensors) of the newest checkpoint. File sizes depend on how times are written."""
    path = sorted((run / "checkpoints").glob("step-*.safetensors"))[-1]
    metadata, tensors = tools.read_safetensors(path)
    counted = {k: v for k, v in metadata.items() if not k.endswith(("_s", "_bytes", "_hash", "checksum"))}
    return int(metadata["step"]), counted, tensors


def differences(reference, run):
    """What differs between two finished runs, in words."""
    found = []
    for name in ("metrics.jsonl", "eval.jsonl", EVENTS):
        expected, got = timeless(reference / name), timeless(run / name)
        if len(expected) != len(got):
            found.append(f"{name}: {len(expected)} records, then {len(got)}")
        first = next((i for i, (a, b) in enumerate(zip(expected, got)) if a != b), None)
        if first is not None:
            found.append(f"{name}, number {first + 1}:\n  {expected[first]}\n  {got[first]}")
    (_, metadata_a, tensors_a), (_, metadata_b, tensors_b) = checkpoint(reference), checkpoint(run)
    if metadata_a != metadata_b:
        found.append(f"checkpoint: {metadata_a}, then {metadata_b}")
    names = sorted(tensors_a.keys() | tensors_b.keys())
    found += [f"checkpoint: {n} differs" for n in names if tensors_a.get(n) != tensors_b.get(n)]
    return found


class Experiment:
    def __init__(self, binary, threads, directory, name, config):
        self.name, self.directory = name, directory / name.replace(", ", "-").replace(" ", "_")
        self.directory.mkdir()
        self.config = self.directory / "config.yaml"
        tools.write_config(self.config, config)
        self.binary, self.threads, self.runs = binary, threads, 0
        self.reference = self.new_run()
        start = time.monotonic()
        done = self.start(self.reference, resume=False)
        if done.wait() != 0:
            sys.exit(f"{name}: the uninterrupted run failed: {done.stderr.read()}")
        self.seconds = time.monotonic() - start

    def new_run(self):
        self.runs += 1
        return self.directory / f"run{self.runs}"

    def start(self, run, resume):
        command = [self.binary, "train", self.config, "--out", run, "--quiet"]
        command += ["--threads", str(self.threads)] + (["--resume"] if resume else [])
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def stopped(self, run, resume, number, delay):
        """Runs for `delay` seconds, then sends the signal: the exit code."""
        begin = time.monotonic()
        process = self.start(run, resume)
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
        code = process.wait()
        if code not in (0, 130, -number):
            sys.exit(f"{self.name}: exit code {code}: {process.stderr.read()}")
        if code == 0 and not resume:  # too late: the machine is faster now than it was
            self.seconds = min(self.seconds, time.monotonic() - begin)
        return code

    def killed_run(self, rng, wanted):
        """One run to its end, with up to `wanted` kills on the way: (kills, steps in the checkpoints resumed from)."""
        run, kills, resumed_at = self.new_run(), 0, []
        while True:
            delay = rng.uniform(0, self.seconds) if kills < wanted else 1e6
            if run.exists() and list((run / "checkpoints").glob("step-*.safetensors")):
                resumed_at.append(checkpoint(run)[0])
            if self.stopped(run, (run / "config.yaml").exists(), signal.SIGKILL, delay) == 0:
                self.compare(run, f"after {kills} kill(s), resumed at steps {resumed_at}")
                return kills, resumed_at
            kills += 1

    def interrupted_run(self, rng):
        """SIGINT stops after the current step with exit code 130 and a whole checkpoint."""
        for _ in range(50):
            run = self.new_run()
            code = self.stopped(run, False, signal.SIGINT, rng.uniform(0.3, 0.8) * self.seconds)
            if code == 130:
                break
        else:
            sys.exit(f"{self.name}: no run could be interrupted")
        summary = json.loads((run / "summary.json").read_text())
        step, _, _ = checkpoint(run)
        if not summary["interrupted"] or summary["steps"] != step:
            sys.exit(f"{self.name}: interrupted at step {summary['steps']}, but the last checkpoint is of step {step}")
        if self.stopped(run, True, signal.SIGINT, 1e6) != 0:
            sys.exit(f"{self.name}: the resumed run did not end by itself")
        self.compare(run, f"after SIGINT at step {step}")
        return step

    def compare(self, run, what):
        found = differences(self.reference, run)
        if found:
            sys.exit(f"{self.name}: differs from the uninterrupted run {what}:\n" + "\n".join(found))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    tools.add_binary(parser)
    parser.add_argument("--kills", type=int, default=20, help="in all, shared out over the experiments")
    parser.add_argument("--quick", action="store_true", help="5 kills, shorter runs")
    parser.add_argument("--threads", type=int, default=0, help="0: all cores")
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    arguments = parser.parse_args()
    binary = tools.check_binary(arguments.binary)
    rng = random.Random(arguments.seed)
    total = 5 if arguments.quick else arguments.kills
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        described = configs(directory, 400 if arguments.quick else 4000)
        for i, (title, config) in enumerate(described.items()):
            experiment = Experiment(binary, arguments.threads, directory, title, config)
            wanted = total // len(described) + (i < total % len(described))
            kills, resumed_at = 0, []
            while kills < wanted:
                more, at = experiment.killed_run(rng, wanted - kills)
                kills, resumed_at = kills + more, resumed_at + at
            step = experiment.interrupted_run(rng)
            print(
                f"{title:42} {config['meta']['steps']} steps in {experiment.seconds:.1f} s; {kills} kills, resumed at"
                f" {resumed_at}; SIGINT at {step}: same bytes",
                flush=True,
            )
    print("all resumed runs end with the bytes of the uninterrupted ones")


if __name__ == "__main__":
    main()
