#!/usr/bin/env python3
"""Runs a few meta-steps of every config in configs/, in mixed and in reverse mode, and sets the memory that was planned
beside what was measured: the arena's high-water mark must equal the plan to the byte, and the peak of the process's
resident memory may exceed the plan by 64 MiB at most.

    scripts/measure_memory.py [--binary FILE] [CONFIG...]

Configs whose data are missing are named and skipped (scripts/fetch_data.sh, scripts/hypertorch_data.py)."""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import tools

ALLOWED_OVERHEAD = 64 << 20


def measure(binary, config, mode):
    """The summary of the run, or None where data are missing."""
    with tempfile.TemporaryDirectory() as name:
        run = pathlib.Path(name) / "run"
        settings = ["meta.steps=3", "meta.eval.every=3", "meta.checkpoint_every=3", f"gradient.mode={mode}"]
        command = [binary, "train", config, "--out", run, "--quiet", "--json"]
        for setting in settings:
            command += ["-s", setting]
        done = subprocess.run([str(c) for c in command], cwd=tools.ROOT, capture_output=True, text=True)
        if done.returncode == 2 and "no such file" in done.stderr:
            return None
        if done.returncode != 0:
            sys.exit(f"{config}, {mode}: exit code {done.returncode}\n{done.stderr.strip()}")
        return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    tools.add_binary(parser)
    parser.add_argument("configs", nargs="*", type=pathlib.Path)
    arguments = parser.parse_args()
    binary = tools.check_binary(arguments.binary)
    configs = arguments.configs or sorted(
        path for path in (tools.ROOT / "configs").rglob("*.yaml") if path.parent.name != "sweeps"
    )
    wrong = 0
    print("| config | mode | static bytes | dynamic bytes, planned | measured | peak of the process beyond the plan, MiB |")
    print("|---|---|---|---|---|---|")
    for config in configs:
        shown = config.relative_to(tools.ROOT) if config.is_relative_to(tools.ROOT) else config
        for mode in ("mixed", "reverse"):
            summary = measure(binary, config, mode)
            if summary is None:
                print(f"| {shown} | {mode} | its data are missing | | | |")
                continue
            beyond = summary["peak_rss_bytes"] - summary["static_bytes"] - summary["dynamic_bytes"]
            good = summary["arena_peak_bytes"] == summary["dynamic_bytes"] and beyond <= ALLOWED_OVERHEAD
            wrong += not good
            print(
                f"| {shown} | {mode} | {summary['static_bytes']} | {summary['dynamic_bytes']} |"
                f" {summary['arena_peak_bytes']} | {beyond / 2**20:.1f}{'' if good else ' WRONG'} |",
                flush=True,
            )
    if wrong:
        sys.exit(f"{wrong} runs broke the plan")


if __name__ == "__main__":
    main()
