#!/usr/bin/env python3
"""Times sinusoid MAML (25 tasks, 10 + 10 points, MLP 1-40-40-1, float32) in mixflow, JAX and PyTorch, one after the
other in each round, so that all see the same state of the machine.

    scripts/bench_sinusoid.py [--rounds 7] [--inner-steps 1,5] [--skip-torch] [--binary FILE]

Reports the least and the median time per meta-step in steady state, start-up and compilation aside, and the time from
the start of the process to the end of the first meta-step. Raw figures and facts about the machine go to
data/runs/<date>-<cpu>/. JAX is installed into build/venv where it is missing; PyTorch is left out where it is."""

import argparse
import importlib.util
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time

import tools

tools.need("jax")

PEERS = tools.ROOT / "scripts" / "peers"


def config(inner_steps, meta_steps):
    return {
        "name": "bench",
        "data": {"kind": "sinusoid", "shots": 10, "queries": 10},
        "model": {"kind": "mlp", "hidden": [40, 40], "activation": "relu"},
        "inner": {"loss": "mse", "steps": inner_steps, "optimizer": {"kind": "sgd", "lr": 0.01}},
        "meta": {
            "parameters": [{"kind": "init"}],
            "optimizer": {"kind": "adam", "lr": 1e-3},
            "batch": 25,
            "steps": meta_steps,
            "eval": {"tasks": 1, "steps": [0]},
            "checkpoint_every": meta_steps,
        },
    }


def time_mixflow(binary, inner_steps, meta_steps):
    """The mean over the second half of a run, its logging included; data are drawn anew in every step."""
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        tools.write_config(directory / "bench.yaml", config(inner_steps, meta_steps))
        summary = tools.train(binary, directory / "run", directory / "bench.yaml")
        lines = tools.read_jsonl(directory / "run" / "metrics.jsonl")
    half = lines[len(lines) // 2]
    step_s = (lines[-1]["wall_s"] - half["wall_s"]) / (lines[-1]["step"] - half["step"])
    return {"step_s": step_s, "first_step_s": summary["first_step_s"]}


def time_peer(script, inner_steps, meta_steps, *options):
    command = [sys.executable, PEERS / script, "--inner-steps", inner_steps, "--steps", meta_steps, *options]
    return json.loads(tools.run(*command, env={**os.environ, "JAX_PLATFORMS": "cpu"}))


def table(rows, names, inner_steps):
    lines = ["| inner steps | program | ms per meta-step: min | median | times mixflow (min, median) | first step, s |"]
    lines.append("|---|---|---|---|---|---|")
    for T in inner_steps:
        base = None
        for name in names:
            own = [r for r in rows if r["program"] == name and r["inner_steps"] == T]
            times = [r["step_s"] * 1e3 for r in own]
            low, mid = min(times), statistics.median(times)
            base = base or (low, mid)
            first = min(r["first_step_s"] for r in own)
            lines.append(f"| {T} | {name} | {low:.3f} | {mid:.3f} | {low / base[0]:.2f}, {mid / base[1]:.2f} | {first:.3f} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    tools.add_binary(parser)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--inner-steps", default="1,5", help="list of T (default: 1,5)")
    parser.add_argument("--steps", type=int, default=5000, help="meta-steps per run of mixflow")
    parser.add_argument("--skip-torch", action="store_true")
    parser.add_argument("--out", type=pathlib.Path, help="default: data/runs/<date>-<cpu>/")
    arguments = parser.parse_args()
    binary = tools.check_binary(arguments.binary)
    inner_steps = [int(T) for T in arguments.inner_steps.split(",")]
    arguments.torch = not arguments.skip_torch and importlib.util.find_spec("torch") is not None
    if not arguments.torch:
        print("PyTorch is left out", file=sys.stderr)

    runs = {
        "mixflow": lambda T: time_mixflow(binary, T, arguments.steps),
        "JAX": lambda T: time_peer("jax_maml.py", T, 2000),
        "JAX, 100 steps per call": lambda T: time_peer("jax_maml.py", T, 2000, "--fused", 100),
    }
    if arguments.torch:
        runs["PyTorch"] = lambda T: time_peer("torch_maml.py", T, 300)
        runs["PyTorch, 1 thread"] = lambda T: time_peer("torch_maml.py", T, 300, "--threads", 1)
    facts = tools.machine(binary) | {"jax": tools.version("jax"), "torch": tools.version("torch") if arguments.torch else None}
    columns = ("round", "program", "inner_steps", "step_s", "first_step_s", "machine_busy", "load_1min", "time")
    measured = tools.Measurements(arguments.out, "sinusoid", facts, columns)
    for number in range(1, arguments.rounds + 1):
        for T in inner_steps:
            for name, run in runs.items():
                before = tools.cpu_times()
                try:
                    result = run(T)
                except tools.Failed as failure:
                    sys.exit(f"{failure}\nmeasured so far: {measured.part}")
                measured.add(
                    round=number,
                    program=name,
                    inner_steps=T,
                    step_s=result["step_s"],
                    first_step_s=result["first_step_s"],
                    machine_busy=round(tools.busy_share(before, tools.cpu_times()), 3),
                    load_1min=os.getloadavg()[0],
                    time=time.strftime("%H:%M:%S"),
                )
                print(f"round {number}, T = {T}, {name}: {result['step_s'] * 1e3:.3f} ms", file=sys.stderr, flush=True)

    result = table(measured.rows, list(runs), inner_steps)
    text = (
        f"# Sinusoid MAML, {facts['date']}\n\n{facts['cpu']}, {facts['cores']} cores; {arguments.rounds} rounds of"
        f" scripts/bench_sinusoid.py; raw figures in sinusoid.csv, the machine in sinusoid.json.\n\n{result}\n"
    )
    out = measured.finish(text)
    print(result)
    print(f"raw figures: {out}")


if __name__ == "__main__":
    main()
