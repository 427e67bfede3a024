#!/usr/bin/env python3
"""Time and memory of one meta-gradient of a transformer in mixflow, JAX and PyTorch.

    scripts/bench_peers.py [--workloads 3M,3M-lr,3M-weights,58M] [--rounds 3] [--precision f32|bf16] [--threads N]

All start from the same weights and data, which `mixflow grad` writes with its meta-gradient in float32; the cosine of
each program's own meta-gradient with it is in the table. In each round every program runs once, in a process of its
own: a warm-up, then --reps meta-gradients. mixflow at its operating points (gradient.preset), JAX and PyTorch in the
ways a good user would try: mixed mode and reverse, with and without rematerialised blocks where memory allows.

*dynamic*: mixflow: the arena's measured peak; JAX: XLA's temporaries and results. *process*: peak resident memory. Times
are of the meta-gradient; mixflow's include the meta-update. Raw figures and facts about the machine go to
data/runs/<date>-<cpu>/peers.{csv,json,md}."""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

import tools

tools.need("jax", "torch")

PEERS = tools.ROOT / "scripts" / "peers"
POINTS = ("smallest", "balanced", "fastest")


def model(layers, d_model, ffw, heads, kv_size, vocab):
    sizes = {"layers": layers, "d_model": d_model, "ffw": ffw, "heads": heads, "kv_size": kv_size, "vocab": vocab}
    return {"kind": "transformer", **sizes}


def config(name, network, sequence, batch, T, parameter):
    return {
        "name": name,
        "data": {"kind": "random_tokens", "sequence": sequence, "batch": batch},
        "model": network,
        # eps_root: where g is near zero at Adam's first step, the default makes meta-gradients a matter of rounding.
        "inner": {"steps": T, "optimizer": {"kind": "adam", "lr": 1e-3, "eps_root": 1e-6}},
        "meta": {"parameters": [parameter], "optimizer": {"kind": "adam", "lr": 1e-3}, "steps": 100},
    }


SMALL, LARGE = model(4, 256, 1024, 4, 64, 256), model(8, 512, 2048, 8, 64, 32000)
WORKLOADS = {
    "3M": config("3.3M, maml, B 4, S 256, T 2", SMALL, 256, 4, 2, {"kind": "init"}),
    "3M-T4": config("3.3M, maml, B 4, S 256, T 4", SMALL, 256, 4, 4, {"kind": "init"}),
    "3M-lr": config("3.3M, per_parameter_lr, B 4, S 256, T 2", SMALL, 256, 4, 2, {"kind": "lr", "granularity": "per_parameter"}),
    "3M-weights": config("3.3M, loss_weighting, B 4, S 256, T 2", SMALL, 256, 4, 2, {"kind": "loss_weights", "model": SMALL}),
    "58M": config("58M, maml, V 32000, B 2, S 1024, T 2", LARGE, 1024, 2, 2, {"kind": "init"}),
}  # fmt: skip


class Runner:
    def __init__(self, binary, directory, arguments):
        self.binary, self.directory, self.arguments = binary, directory, arguments

    def inputs(self, name):
        """The workload's config and its weights, data and meta-gradient, written once."""
        path, tensors = self.directory / f"{name}.yaml", self.directory / f"{name}.safetensors"
        if not tensors.exists():
            settings = WORKLOADS[name] | {"name": name}
            tools.write_config(path, settings)
            tools.mixflow(self.binary, "grad", path, "--out", tensors)
        return path, tensors

    def mixflow(self, name, preset):
        path, _ = self.inputs(name)
        threads = ["--threads", self.arguments.threads] if self.arguments.threads else []
        report = json.loads(
            tools.mixflow(
                self.binary, "bench", path, "--json", "--quiet", "--reps", self.arguments.reps,
                "-s", f"gradient.preset={preset}", "-s", f"precision={self.arguments.precision}", *threads,
            )  # fmt: skip
        )
        (row,) = report["rows"]
        return {
            "step_s": row["step_s"]["all"],
            "dynamic_bytes": row["arena_peak_bytes"],
            "rss_bytes": row["rss_bytes"],
            "mfu": row["mfu"],
        }

    def peer(self, script, name, *options):
        path, tensors = self.inputs(name)
        environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
        command = [sys.executable, PEERS / script, tensors, path, "--reps", self.arguments.reps]
        command += ["--precision", self.arguments.precision, *options]
        if self.arguments.threads:
            environment |= {"OMP_NUM_THREADS": str(self.arguments.threads)}
            command = ["taskset", "-c", ",".join(map(str, range(self.arguments.threads))), *command]
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True, env=environment)
        if done.returncode != 0:
            return {"failed": done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"signal {-done.returncode}"}
        return json.loads(done.stdout)

    def programs(self, name):
        peers = {
            "JAX, mixed, block remat": ("jax_transformer.py", "--mode", "mixed", "--block-remat", "1"),
            "JAX, mixed": ("jax_transformer.py", "--mode", "mixed", "--block-remat", "0"),
            "JAX, reverse, block remat": ("jax_transformer.py", "--mode", "reverse", "--block-remat", "1"),
            "PyTorch, create_graph": ("torch_transformer.py", "--mode", "reverse"),
            "PyTorch, mixed": ("torch_transformer.py", "--mode", "mixed"),
        }
        runs = {f"mixflow, {preset}": (lambda p=preset: self.mixflow(name, p)) for preset in POINTS}
        runs |= {title: (lambda c=command: self.peer(c[0], name, *c[1:])) for title, command in peers.items()}
        wanted = self.arguments.only
        return {title: run for title, run in runs.items() if not wanted or any(w in title for w in wanted.split(";"))}


def summary(rows):
    """One row for each program of a workload."""
    result = {}
    for row in rows:
        entry = result.setdefault(row["program"], {"times": []})
        entry["times"].append(row["step_s"])
        # The least favourable of all rounds.
        for key, worse in (("dynamic_bytes", max), ("rss_bytes", max), ("mfu", min), ("cosine", min)):
            if row.get(key) is not None:
                entry[key] = worse(entry.get(key, row[key]), row[key])
    return result


def mebibytes(value):
    return "-" if value is None else f"{value / 2**20:,.0f} MiB"


def table(rows, failures):
    parts = []
    for name in dict.fromkeys(row["workload"] for row in rows):
        programs = summary([row for row in rows if row["workload"] == name])
        ours = {p: min(e["times"]) for p, e in programs.items() if p.startswith("mixflow")}
        best = min(ours.values())
        lines = [
            f"**{WORKLOADS[name]['name']}**",
            "",
            "| program | s: min | median | over mixflow's fastest | dynamic | process | MFU | cosine |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for program, entry in programs.items():
            times = entry["times"]
            cosine = f"{entry['cosine']:.7f}" if "cosine" in entry else "-"
            mfu = f"{100 * entry['mfu']:.0f} %" if entry.get("mfu") else "-"
            lines.append(
                f"| {program} | {min(times):.3f} | {statistics.median(times):.3f} | {min(times) / best:.2f}x"
                f" | {mebibytes(entry.get('dynamic_bytes'))} | {mebibytes(entry.get('rss_bytes'))} | {mfu} | {cosine} |"
            )
        lines += [f"| {program} | failed: {why} | | | | | | |" for (w, program), why in failures.items() if w == name]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    tools.add_binary(parser)
    parser.add_argument("--workloads", default="3M,3M-lr,3M-weights,58M", help=f"of {', '.join(WORKLOADS)}")
    parser.add_argument("--only", default="", help='programs whose names contain one of these, e.g. "mixflow;JAX, mixed"')
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--reps", type=int, default=3, help="meta-gradients in each round, after a warm-up")
    parser.add_argument("--precision", choices=("f32", "bf16"), default="f32")
    parser.add_argument("--threads", type=int, default=0, help="default: all cores")
    parser.add_argument("--out", type=pathlib.Path, help="default: data/runs/<date>-<cpu>/")
    arguments = parser.parse_args()
    binary = tools.check_binary(arguments.binary)
    names = arguments.workloads.split(",")
    for name in names:
        if name not in WORKLOADS:
            sys.exit(f"--workloads: {name} is none of {', '.join(WORKLOADS)}")
    facts = tools.machine(binary) | {package: tools.version(package) for package in ("jax", "torch")}
    facts["precision"] = arguments.precision
    rows, failures = [], {}
    with tempfile.TemporaryDirectory() as directory:
        runner = Runner(binary, pathlib.Path(directory), arguments)
        for number in range(1, arguments.rounds + 1):
            for name in names:
                for program, run in runner.programs(name).items():
                    if (name, program) in failures:
                        continue
                    result = run()
                    if "failed" in result:
                        failures[name, program] = result["failed"]
                        print(f"{name}, {program}: {result['failed']}", file=sys.stderr, flush=True)
                        continue
                    for step_s in result["step_s"]:
                        rows.append({"round": number, "workload": name, "program": program, "step_s": step_s})
                        rows[-1] |= {k: result.get(k) for k in ("dynamic_bytes", "rss_bytes", "mfu", "cosine")}
                    best = min(result["step_s"])
                    print(f"round {number}, {name}, {program}: {best:.3f} s", file=sys.stderr, flush=True)

    result = table(rows, failures)
    stem = "peers" if arguments.precision == "f32" else f"peers_{arguments.precision}"
    text = (
        f"# Transformers against JAX and PyTorch, {facts['date']}\n\n{facts['cpu']}, {facts['cores']} cores,"
        f" {arguments.precision}; JAX {facts['jax']}, PyTorch {facts['torch']}; {arguments.rounds} rounds of"
        f" scripts/bench_peers.sh, {arguments.reps} repetitions in each; raw figures in {stem}.csv, the machine in"
        f" {stem}.json.\n\n{result}\n"
    )
    out = tools.write_measurements(arguments.out, stem, facts, rows, text)
    print(result)
    print(f"raw figures: {out}")


if __name__ == "__main__":
    main()
