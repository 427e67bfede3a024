#!/usr/bin/env python3
"""Time and memory of one meta-gradient in mixflow, JAX and PyTorch: transformers, and few-shot classification.

    scripts/bench_peers.py [--workloads fewshot,3M,..] [--rounds 3] [--precision f32,bf16] [--threads N]

All start from the same weights and data, which `mixflow grad` writes with its meta-gradient in float32; the cosine of each
program's own meta-gradient with it, and the relative error, are in the table. In each round every program runs once, in
a process of its own: a warm-up, then --reps repetitions of as many meta-gradients as take 20 ms. All compute the same
function; what is recomputed rather than kept, and so the FLOPs, differ by program. mixflow at its operating points
(gradient.preset, gradient.remat), JAX and PyTorch in the ways a good user would try: mixed mode and reverse, with and
without rematerialised blocks, tasks by vmap or in turn. bf16: `precision: bf16` in mixflow, weights and activations cast
in JAX, torch.autocast in PyTorch.

*dynamic*: mixflow: the arena's measured peak; JAX: XLA's temporaries and results. *process*: peak resident memory before
anything is compared. Times of transformers are of the meta-gradient, mixflow's with the meta-update and the drawing of the
data; of few-shot tasks all programs' are with the meta-update, and mixflow alone draws new tasks for each. A program that
fails is left out of the rounds that follow, and the table says why. Rows are written as they come. Raw figures and facts
about the machine go to data/runs/<date>-<cpu>/peers.{csv,json,md}."""

import argparse
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time

import tools

tools.need("jax", "torch")

import numpy as np  # noqa: E402  (after `need`, which may start this script again)
from peers.workload import Workload  # noqa: E402

PEERS = tools.ROOT / "scripts" / "peers"
COLUMNS = (
    "round", "workload", "precision", "program", "step_s", "dynamic_bytes", "rss_bytes", "mfu", "cosine", "relative_error",
    "machine_busy", "load_1min", "time", "failed",
)  # fmt: skip


def transformer(layers, d_model, ffw, heads, kv_size, vocab):
    sizes = {"layers": layers, "d_model": d_model, "ffw": ffw, "heads": heads, "kv_size": kv_size, "vocab": vocab}
    return {"kind": "transformer", **sizes}


def on_tokens(name, network, sequence, batch, T, parameter):
    return {
        "name": name,
        "data": {"kind": "random_tokens", "sequence": sequence, "batch": batch},
        "model": network,
        # eps_root: where g is near zero at Adam's first step, the default makes meta-gradients a matter of rounding.
        "inner": {"steps": T, "optimizer": {"kind": "adam", "lr": 1e-3, "eps_root": 1e-6}},
        "meta": {"parameters": [parameter], "optimizer": {"kind": "adam", "lr": 1e-3}, "steps": 100},
    }


def few_shot(hidden, T):
    """MAML, 5-way 1-shot, on images of 28 x 28: 5 support and 75 query images in each of 32 tasks."""
    widths = "-".join(map(str, (784, *hidden, 5)))
    return {
        "name": f"few-shot MAML, MLP {widths}, 5-way 1-shot, 15 queries per way, 32 tasks, T {T}",
        "data": {"kind": "episodes", "x": "images.npz:x", "y": "images.npz:y", "ways": 5, "shots": 1, "queries": 15},
        "model": {"kind": "mlp", "hidden": hidden, "activation": "relu"},
        "inner": {"loss": "cross_entropy", "steps": T, "optimizer": {"kind": "sgd", "lr": 0.1}},
        "meta": {"parameters": [{"kind": "init"}], "optimizer": {"kind": "adam", "lr": 1e-3}, "batch": 32, "steps": 100},
    }


SMALL, LARGE = transformer(4, 256, 1024, 4, 64, 256), transformer(8, 512, 2048, 8, 64, 32000)
RATES = {"kind": "lr", "granularity": "per_parameter"}
WORKLOADS = {
    "fewshot": few_shot([64, 64], 1),
    "fewshot-T5": few_shot([64, 64], 5),
    "fewshot-1layer-T5": few_shot([64], 5),
    "3M": on_tokens("3.3M, maml, B 4, S 256, T 2", SMALL, 256, 4, 2, {"kind": "init"}),
    "3M-T4": on_tokens("3.3M, maml, B 4, S 256, T 4", SMALL, 256, 4, 4, {"kind": "init"}),
    "3M-lr": on_tokens("3.3M, per_parameter_lr, B 4, S 256, T 2", SMALL, 256, 4, 2, RATES),
    "3M-weights": on_tokens("3.3M, loss_weighting, B 4, S 256, T 2", SMALL, 256, 4, 2, {"kind": "loss_weights", "model": SMALL}),
    "58M": on_tokens("58M, maml, V 32000, B 2, S 1024, T 2", LARGE, 1024, 2, 2, {"kind": "init"}),
}  # fmt: skip
# Settings of mixflow, and options of the peers' scripts.
TRANSFORMER_PROGRAMS = {
    "mixflow, smallest": ("gradient.preset=smallest",),
    "mixflow, balanced": ("gradient.preset=balanced",),
    "mixflow, reuse 1": ("gradient.preset=balanced", "gradient.remat.policy.reuse=1"),
    "mixflow, fastest": ("gradient.preset=fastest",),
    "JAX, mixed, block remat": ("jax_transformer.py", "--mode", "mixed", "--block-remat", "1"),
    "JAX, mixed": ("jax_transformer.py", "--mode", "mixed", "--block-remat", "0"),
    "JAX, reverse, block remat": ("jax_transformer.py", "--mode", "reverse", "--block-remat", "1"),
    "PyTorch, create_graph": ("torch_transformer.py", "--mode", "reverse"),
    "PyTorch, mixed": ("torch_transformer.py", "--mode", "mixed"),
}
FEW_SHOT_PROGRAMS = {
    "mixflow": (),
    "mixflow, steps kept": ("gradient.remat.step=false",),
    "JAX, reverse, vmap": ("jax_mlp.py", "--mode", "reverse", "--tasks", "vmap"),
    "JAX, reverse, lax.map": ("jax_mlp.py", "--mode", "reverse", "--tasks", "map"),
    "JAX, mixed, vmap": ("jax_mlp.py", "--mode", "mixed", "--tasks", "vmap"),
    "PyTorch, torch.func": ("torch_mlp.py",),
}


def write_images(path):
    """200 classes of 20 images each: noise, since time and memory do not depend on what is in them."""
    draw = np.random.default_rng(1)
    np.savez(path, x=draw.random((4000, 784), dtype=np.float32), y=np.repeat(np.arange(200), 20))


class Runner:
    """Runs programs on workloads. Throws tools.Failed."""

    def __init__(self, binary, directory, arguments):
        self.binary, self.directory, self.reps = binary, directory, arguments.reps
        self.cores = sorted(os.sched_getaffinity(0))[: arguments.threads or None]
        self.accuracy = {}
        write_images(directory / "images.npz")

    def inputs(self, name):
        """The workload's config and its weights, data and meta-gradient, written once."""
        path, tensors = self.directory / f"{name}.yaml", self.directory / f"{name}.safetensors"
        if not tensors.exists():
            tools.write_config(path, WORKLOADS[name] | {"name": name})
            self.run(self.binary, "grad", path, "--out", tensors)
        return path, tensors

    def run(self, *command):
        """On these cores, in the directory that the configs' paths start from."""
        environment = {**os.environ, "JAX_PLATFORMS": "cpu", "OMP_NUM_THREADS": str(len(self.cores))}
        return tools.run(*command, cwd=self.directory, env=environment, cores=self.cores)

    def mixflow(self, name, precision, *settings):
        path, tensors = self.inputs(name)
        options = [o for s in (f"precision={precision}", *settings) for o in ("-s", s)]
        case = (name, precision, settings)
        if case not in self.accuracy:  # the same in every round
            own = self.directory / "own.safetensors"
            self.run(self.binary, "grad", path, "--in", tensors, "--out", own, *options)
            gradient = Workload(own, path).part("meta_grad.")
            self.accuracy[case] = Workload(tensors, path).compare(gradient, "meta_grad.")
        report = json.loads(self.run(self.binary, "bench", path, "--json", "--quiet", "--reps", self.reps, *options))
        (row,) = report["rows"]
        if row["step_s"] is None:
            raise tools.Failed(row["reason"])
        figures = {"step_s": row["step_s"]["all"], "dynamic_bytes": row["arena_peak_bytes"], "rss_bytes": row["rss_bytes"]}
        return figures | {"mfu": row.get("mfu")} | self.accuracy[case]

    def peer(self, name, precision, script, *options):
        path, tensors = self.inputs(name)
        command = [sys.executable, PEERS / script, tensors, path, "--reps", self.reps, "--precision", precision]
        return json.loads(self.run(*command, *options))

    def programs(self, name, wanted):
        """{title: its run, which takes a precision}, of those whose titles contain one of the wanted words."""
        kind = WORKLOADS[name]["model"]["kind"]
        programs = TRANSFORMER_PROGRAMS if kind == "transformer" else FEW_SHOT_PROGRAMS
        run = lambda title, precision: (self.mixflow if title.startswith("mixflow") else self.peer)(
            name, precision, *programs[title]
        )
        return {
            title: (lambda precision, title=title: run(title, precision))
            for title in programs
            if not wanted or any(word in title for word in wanted)
        }


def summary(rows):
    """{program: its figures} of a workload. A program's memory and accuracy are the least favourable of all rounds."""
    result = {}
    for row in rows:
        entry = result.setdefault(row["program"], {"times": []})
        if row.get("failed"):
            entry["failed"] = row["failed"]
            continue
        entry["times"].append(row["step_s"])
        for key, choose in (("dynamic_bytes", max), ("rss_bytes", max), ("mfu", min), ("cosine", min), ("relative_error", max)):
            if row[key] is not None:
                entry[key] = choose(row[key], entry.get(key, row[key]))
    return result


def mebibytes(value):
    return "-" if value is None else f"{value / 2**20:,.0f} MiB"


def seconds(value):
    return f"{value:.3f}" if value >= 0.1 else f"{value:.5f}"


def table_of(title, programs):
    best = min((t for p, e in programs.items() if p.startswith("mixflow") for t in e["times"]), default=None)
    lines = [
        f"**{title}**",
        "",
        "| program | s: min | median | over mixflow's fastest | dynamic | process | MFU | cosine | relative error |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for program, entry in programs.items():
        times = entry["times"]
        if times:
            ratio = f"{min(times) / best:.2f}x" if best else "-"
            mfu = f"{100 * entry['mfu']:.0f} %" if entry.get("mfu") else "-"
            lines.append(
                f"| {program} | {seconds(min(times))} | {seconds(statistics.median(times))} | {ratio}"
                f" | {mebibytes(entry.get('dynamic_bytes'))} | {mebibytes(entry.get('rss_bytes'))} | {mfu}"
                f" | {entry['cosine']:.7f} | {entry['relative_error']:.1e} |"
            )
        if "failed" in entry:
            lines.append(f"| {program} | failed: {entry['failed']} | | | | | | | |")
    return "\n".join(lines)


def table(rows):
    parts = []
    for name, precision in dict.fromkeys((row["workload"], row["precision"]) for row in rows):
        own = [row for row in rows if (row["workload"], row["precision"]) == (name, precision)]
        parts.append(table_of(f"{WORKLOADS[name]['name']}, {precision}", summary(own)))
    return "\n\n".join(parts)


def run_rounds(runner, cases, arguments, measured):
    failed = set()
    for number in range(1, arguments.rounds + 1):
        for name, precision in cases:
            for program, run in runner.programs(name, arguments.only.split(";") if arguments.only else []).items():
                key = {"workload": name, "precision": precision, "program": program}
                case = tuple(key.values())
                if case in failed:
                    continue
                before = tools.cpu_times()
                try:
                    result = run(precision)
                except tools.Failed as failure:
                    failed.add(case)
                    why = str(failure).splitlines()[-1].replace("|", "\\|")
                    measured.add(round=number, **key, time=time.strftime("%H:%M:%S"), failed=why)
                    print(f"{', '.join(case)}: {failure}", file=sys.stderr, flush=True)
                    continue
                figures = {k: result.get(k) for k in ("dynamic_bytes", "rss_bytes", "mfu", "cosine", "relative_error")}
                figures["machine_busy"] = round(tools.busy_share(before, tools.cpu_times()), 3)
                figures |= {"load_1min": os.getloadavg()[0], "time": time.strftime("%H:%M:%S")}
                for step_s in result["step_s"]:
                    measured.add(round=number, **key, step_s=step_s, **figures)
                best = seconds(min(result["step_s"]))
                print(f"round {number}, {', '.join(case)}: {best} s", file=sys.stderr, flush=True)


def listed(text, known, option):
    names = text.split(",")
    for name in names:
        if name not in known:
            sys.exit(f"{option}: {name} is none of {', '.join(known)}")
    return names


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    tools.add_binary(parser)
    parser.add_argument("--workloads", default="fewshot,fewshot-T5,3M,3M-lr,3M-weights,58M", help=f"of {', '.join(WORKLOADS)}")
    parser.add_argument("--only", default="", help='programs whose names contain one of these, e.g. "mixflow;JAX, mixed"')
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--reps", type=int, default=3, help="repetitions in each round, after a warm-up")
    parser.add_argument("--precision", default="f32", help="list of f32, bf16 (default: f32)")
    parser.add_argument("--threads", type=int, default=0, help="cores that all programs may use (default: all)")
    parser.add_argument("--out", type=pathlib.Path, help="default: data/runs/<date>-<cpu>/")
    arguments = parser.parse_args()
    binary = tools.check_binary(arguments.binary)
    names = listed(arguments.workloads, WORKLOADS, "--workloads")
    precisions = listed(arguments.precision, ("f32", "bf16"), "--precision")
    facts = tools.machine(binary) | {package: tools.version(package) for package in ("jax", "torch")}
    facts["precision"] = arguments.precision
    stem = "peers" if precisions == ["f32"] else f"peers_{'_'.join(precisions)}"
    measured = tools.Measurements(arguments.out, stem, facts, COLUMNS)
    ended = ""
    with tempfile.TemporaryDirectory() as directory:
        runner = Runner(binary, pathlib.Path(directory), arguments)
        facts["threads"] = len(runner.cores)
        try:
            run_rounds(runner, [(n, p) for n in names for p in precisions], arguments, measured)
        except KeyboardInterrupt:
            ended = ", interrupted"
    if not measured.rows:
        sys.exit(f"nothing was measured{ended}")

    result = table(measured.rows)
    text = (
        f"# Against JAX and PyTorch, {facts['date']}\n\n{facts['cpu']}, {facts['threads']} cores; JAX {facts['jax']},"
        f" PyTorch {facts['torch']}; {arguments.rounds} rounds of scripts/bench_peers.sh{ended}, {arguments.reps} repetitions"
        f" in each; raw figures in {stem}.csv, the machine in {stem}.json.\n\n{result}\n"
    )
    print(result)
    print(f"raw figures: {measured.finish(text)}")


if __name__ == "__main__":
    main()
