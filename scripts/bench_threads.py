#!/usr/bin/env python3
"""What a second thread gains, and what it costs where the cores are not ours alone: training runs on one thread and on
two, beside 0, 2 and 4 processes that compute for ever, by one binary or by two that are compared.

    scripts/bench_threads.py [--before FILE] [--after FILE] [--loads 0,2,4] [--minutes 10] [--workloads sinusoid,..]

The order is rounds over loads, workloads, binaries and numbers of threads, so that all see the same state of the machine;
there are as many rounds as fit into --minutes, at least one. A figure is the wall time of a whole `mixflow train`, planning
included, of a fixed number of meta-steps; evaluations are as few as can be. The table has the median of the rounds, and the
ratio of two threads to one as the median of the rounds' ratios. Raw figures and facts about the machine go to
data/runs/<date>-<cpu>/threads.{csv,json,md}."""

import argparse
import contextlib
import pathlib
import random
import statistics
import struct
import subprocess
import sys
import tempfile
import time

import tools

COLUMNS = ["round", "load", "workload", "binary", "threads", "wall_s", "step_s"]
EVAL = {"tasks": 1, "steps": [0]}
SGD = {"kind": "sgd", "lr": 0.01}
ADAM = {"kind": "adam", "lr": 1e-3}
THETA0 = [{"kind": "init"}]


def meta(steps, batch):
    return {"parameters": THETA0, "optimizer": ADAM, "batch": batch, "steps": steps, "eval": EVAL, "checkpoint_every": steps}


SINUSOID = {
    "name": "sinusoid",
    "data": {"kind": "sinusoid", "shots": 10, "queries": 10},
    "model": {"kind": "mlp", "hidden": [40, 40], "activation": "relu"},
    "inner": {"loss": "mse", "steps": 1, "optimizer": SGD},
    "meta": meta(10000, 25),
}
FEWSHOT = {
    "name": "fewshot",
    "data": {"kind": "episodes", "x": "x.npy", "y": "y.npy", "ways": 5, "shots": 1, "queries": 5,
             "train_classes": [0, 1, 2, 3, 4], "validation_classes": [5, 6, 7, 8, 9]},
    "model": {"kind": "mlp", "hidden": [64, 64], "activation": "relu"},
    "inner": {"loss": "cross_entropy", "steps": 5, "optimizer": {"kind": "sgd", "lr": 0.1}},
    "meta": meta(1500, 16),
}  # fmt: skip


def transformer(data, model, steps, inner_steps):
    return {
        "name": "transformer",
        "data": data,
        "model": {"kind": "transformer", **model},
        "inner": {"steps": inner_steps, "optimizer": {**ADAM, "eps_root": 1e-6}},
        "meta": meta(steps, 1),
    }


# The shape of configs/text_maml.yaml and of the 3.3M transformer of bench_peers.py.
TEXT_MAML = transformer(
    {"kind": "random_tokens", "sequence": 32, "batch": 4},
    {"vocab": 256, "d_model": 32, "ffw": 128, "heads": 2, "kv_size": 16, "layers": 2}, 300, 4)  # fmt: skip
LARGE = transformer(
    {"kind": "random_tokens", "sequence": 256, "batch": 4},
    {"vocab": 256, "d_model": 256, "ffw": 1024, "heads": 4, "kv_size": 64, "layers": 4}, 2, 2)  # fmt: skip
WORKLOADS = {"sinusoid": SINUSOID, "fewshot": FEWSHOT, "text_maml": TEXT_MAML, "3.3M": LARGE}


def write_npy(path, dtype, shape, content):
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (63 - (10 + len(header)) % 64) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + content)


def write_images(directory):
    """Noise around an image for each of ten classes: only the time matters."""
    draw = random.Random(1)
    classes = [[draw.random() for _ in range(64)] for _ in range(10)]
    x = [v + 0.1 * draw.random() for i in range(1000) for v in classes[i % 10]]
    write_npy(directory / "x.npy", "<f4", (1000, 64), struct.pack(f"<{len(x)}f", *x))
    write_npy(directory / "y.npy", "<i4", (1000,), struct.pack("<1000i", *(i % 10 for i in range(1000))))


@contextlib.contextmanager
def load(processes):
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        time.sleep(0.3 if busy else 0)
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def run_once(binary, directory, name, threads):
    with tempfile.TemporaryDirectory(dir=directory) as out:
        begin = time.monotonic()
        summary = tools.train(binary, f"{out}/run", directory / f"{name}.yaml", "--threads", threads, cwd=directory)
        return {"wall_s": time.monotonic() - begin, "step_s": summary["step_s"]}


def run_rounds(binaries, directory, arguments, measured):
    end = time.monotonic() + 60 * arguments.minutes
    took, number = 0, 0
    while number == 0 or time.monotonic() + took < end:
        number, begin = number + 1, time.monotonic()
        for busy in arguments.loads:
            with load(busy):
                for name in arguments.workloads:
                    cells = [(b, t) for t in (1, 2) for b in binaries]
                    for binary, threads in cells if number % 2 else reversed(cells):
                        figures = run_once(binaries[binary], directory, name, threads)
                        measured.add(round=number, load=busy, workload=name, binary=binary, threads=threads, **figures)
        took = time.monotonic() - begin
        print(f"round {number}: {took:.0f} s", file=sys.stderr)


def table(rows, binaries):
    head = [f"{b}: 1 thread | 2 threads | 2 : 1" for b in binaries]
    lines = ["| load | workload | " + " | ".join(head) + " |", "|---" * (2 + 3 * len(binaries)) + "|"]
    for busy, name in dict.fromkeys((r["load"], r["workload"]) for r in rows):
        cells = []
        for binary in binaries:
            own = {(r["round"], r["threads"]): r["wall_s"] for r in rows
                   if (r["load"], r["workload"], r["binary"]) == (busy, name, binary)}  # fmt: skip
            rounds = sorted({n for n, _ in own if (n, 1) in own and (n, 2) in own})
            if not rounds:
                continue
            times = [statistics.median(own[n, t] for n in rounds) for t in (1, 2)]
            ratio = statistics.median(own[n, 2] / own[n, 1] for n in rounds)
            cells.append(f"{times[0]:.2f} s | {times[1]:.2f} s | {ratio:.2f}")
        lines.append(f"| {busy} | {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--before", type=pathlib.Path, help="another binary, to compare with")
    parser.add_argument("--after", type=pathlib.Path, default=tools.ROOT / "build" / "release" / "mixflow")
    parser.add_argument("--loads", default="0,2,4", type=lambda s: [int(n) for n in s.split(",")])
    parser.add_argument("--workloads", default=list(WORKLOADS), type=lambda s: s.split(","), help=", ".join(WORKLOADS))
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--out", type=pathlib.Path, help="default: data/runs/<date>-<cpu>/")
    arguments = parser.parse_args()
    unknown = [n for n in arguments.workloads if n not in WORKLOADS]
    if unknown:
        parser.error(f"--workloads: {', '.join(unknown)} is none of {', '.join(WORKLOADS)}")
    binaries = {n: tools.check_binary(b) for n, b in (("before", arguments.before), ("after", arguments.after)) if b}
    measured = tools.Measurements(arguments.out, "threads", tools.machine(binaries["after"]), COLUMNS)
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        write_images(directory)
        for workload, config in WORKLOADS.items():
            tools.write_config(directory / f"{workload}.yaml", config)
        with contextlib.suppress(KeyboardInterrupt):
            run_rounds(binaries, directory, arguments, measured)
    text = table(measured.rows, binaries)
    print(text, end="")
    print(f"raw figures: {measured.finish(text)}", file=sys.stderr)


if __name__ == "__main__":
    main()
