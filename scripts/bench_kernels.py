#!/usr/bin/env python3
"""Speed of mixflow's kernels one by one, under Google Benchmark (Debian: libbenchmark-dev): fused programs with their
gradients and the tangents of these, reductions, moves and matrix products, compiled from graphs as experiments are.

    scripts/bench_kernels.py [--filter REGEX] [--repetitions 5] [--threads N] [--kernel-bench FILE]

Builds build/release/bench/kernel_bench first. Each row has bytes/s, FLOP/s and the share of the roofline: the least time
that the case's FLOPs and bytes take at the matmul peak and at the bandwidth of a triad of at least its footprint, both
measured at the start of the run, over its median. Work that mostly reads goes beyond a triad, whose writes also read, and
shows more than 100 %. Bytes are counted node by node, so what stays in cache between nodes counts as well; exp, division
and the like count as one FLOP. Raw figures and facts about the machine go to
data/runs/<date>-<cpu>/kernels.{csv,json,md}."""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

import tools

KERNEL_BENCH = tools.ROOT / "build" / "release" / "bench" / "kernel_bench"
COLUMNS = ("name", "repetition", "seconds", "bytes_per_s", "flop_per_s", "roofline_share", "nodes", "footprint_bytes")


def build():
    for command in (["cmake", "--preset", "release"], ["cmake", "--build", "--preset", "release", "--target", "kernel_bench"]):
        done = subprocess.run(command, cwd=tools.ROOT, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(
                f"{' '.join(command)} failed; is Google Benchmark there (Debian: apt-get install libbenchmark-dev)?\n"
                f"{(done.stdout + done.stderr).strip()}"
            )


def run(arguments):
    """The report of Google Benchmark."""
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        command = [arguments.kernel_bench, f"--threads={arguments.threads}", f"--benchmark_out={report.name}"]
        command += ["--benchmark_out_format=json", f"--benchmark_repetitions={arguments.repetitions}"]
        command += ["--benchmark_enable_random_interleaving=true", f"--benchmark_min_time={arguments.min_time}"]
        command += [f"--benchmark_filter={arguments.filter}"]
        done = subprocess.run([str(c) for c in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            sys.exit(f"kernel_bench failed\n{done.stderr.strip()}")
        return json.load(report)


def row_of(benchmark):
    """One repetition, its time in seconds."""
    unit = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}[benchmark["time_unit"]]
    figures = {key: benchmark[key] for key in COLUMNS[3:]}
    name = benchmark["run_name"].removesuffix("/real_time")
    return {"name": name, "repetition": benchmark["repetition_index"], "seconds": benchmark["real_time"] * unit} | figures


def shown_time(seconds):
    return f"{seconds * 1e3:.2f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.1f} us"


def table(rows):
    lines = [
        "| case | median | least | GB/s | GFLOP/s | of the roofline | nodes |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(row["name"] for row in rows):
        own = [row for row in rows if row["name"] == name]
        median = lambda key: statistics.median(row[key] for row in own)
        lines.append(
            f"| {name} | {shown_time(median('seconds'))} | {shown_time(min(row['seconds'] for row in own))}"
            f" | {median('bytes_per_s') / 1e9:.1f} | {median('flop_per_s') / 1e9:.1f}"
            f" | {100 * median('roofline_share'):.0f} % | {own[0]['nodes']:.0f} |"
        )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    tools.add_binary(parser)
    parser.add_argument("--kernel-bench", type=pathlib.Path, help="default: build/release/bench/kernel_bench, built first")
    parser.add_argument("--filter", default=".", help="cases whose names match this regular expression")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--min-time", type=float, default=0.1, help="seconds of one repetition")
    parser.add_argument("--threads", type=int, default=0, help="default: all cores")
    parser.add_argument("--out", type=pathlib.Path, help="default: data/runs/<date>-<cpu>/")
    arguments = parser.parse_args()
    binary = tools.check_binary(arguments.binary)
    if arguments.kernel_bench is None:
        build()
        arguments.kernel_bench = KERNEL_BENCH
    facts = tools.machine(binary)
    report = run(arguments)
    facts["kernel_bench"] = report["context"]
    rows = sorted(
        (row_of(b) for b in report["benchmarks"] if b["run_type"] == "iteration"), key=lambda row: row["name"]
    )
    measured = tools.Measurements(arguments.out, "kernels", facts, COLUMNS)
    for row in rows:
        measured.add(**row)

    peaks = report["context"]
    triads = ", ".join(
        f"{float(value) / 1e9:.0f} GB/s of {int(key.split('/')[1]) / 2**20:g} MiB"
        for key, value in peaks.items()
        if key.startswith("triad_bytes_per_s/")
    )
    result = table(rows)
    text = (
        f"# Kernels, {facts['date']}\n\n{facts['cpu']}, {peaks['mixflow_threads']} threads; matmul peak"
        f" {float(peaks['matmul_flop_per_s']) / 1e9:.0f} GFLOP/s; triads: {triads}; {arguments.repetitions} repetitions of"
        f" scripts/bench_kernels.py; raw figures in kernels.csv, the machine in kernels.json.\n\n{result}\n"
    )
    print(text)
    print(f"raw figures: {measured.finish(text)}")


if __name__ == "__main__":
    main()
