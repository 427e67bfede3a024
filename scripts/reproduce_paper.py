#!/usr/bin/env python3
"""Reproduces the tables and figures of the MixFlow-MG paper (Kemaev et al., ICML 2025, arXiv 2505.00793) on a CPU.

    scripts/reproduce_paper.py [--quick] [--out DIR] [--only toy,ablation,sweep,ladder,scaling,wallclock,training,beside_jax] [--binary FILE]

Plans at the paper's shapes, measures at shapes that fit; one module of scripts/paper/ for each experiment, each with a
budget of time for what it measures, which drops repetitions rather than overrun. Writes into DIR (default: results/)
CSV, Markdown and plots for each, README.md, which sets the paper's headline claims beside what was found, and
report.html; below json/ and trained/ what bench and plan printed and the trained runs, which replace those of an earlier
time. --quick: smaller shapes, the corners of the sweep, under 5 minutes. Exit code 1 if an experiment failed. matplotlib and
jax are installed into build/venv where they are missing."""

import argparse
import importlib
import pathlib
import sys
import tempfile
import time

import tools

tools.need("matplotlib", "jax")

from paper import lab as lab_  # noqa: E402  (after `need`, which may start this script again)
from paper import page  # noqa: E402

EXPERIMENTS = ("toy", "ablation", "sweep", "ladder", "scaling", "wallclock", "training", "beside_jax")


def names(text):
    chosen = text.split(",")
    unknown = [name for name in chosen if name not in EXPERIMENTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no experiment is named {unknown[0]}; they are {', '.join(EXPERIMENTS)}")
    return chosen


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    tools.add_binary(parser)
    parser.add_argument("--quick", action="store_true", help="smaller shapes, fewer configs: under 5 minutes")
    parser.add_argument("--out", type=pathlib.Path, default=tools.ROOT / "results", help="default: results/")
    parser.add_argument("--only", type=names, default=EXPERIMENTS, help="list of experiments (default: all)")
    arguments = parser.parse_args()
    binary = tools.check_binary(arguments.binary)
    arguments.out.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    sections, failed = [], {}
    with tempfile.TemporaryDirectory() as directory:
        lab = lab_.Lab(binary, pathlib.Path(directory), arguments.out.resolve(), arguments.quick)
        for name in (name for name in EXPERIMENTS if name in arguments.only):
            start = time.monotonic()
            print(f"{name} ...", file=sys.stderr, flush=True)
            try:
                section = importlib.import_module(f"paper.{name}").run(lab, arguments.out)
            except SystemExit as failure:  # the binary's own message; the other experiments go on
                failed[name] = str(failure)
                print(f"{name} failed: {failure}", file=sys.stderr, flush=True)
                continue
            section.write()
            sections.append(section)
            print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    page.write(arguments.out, lab, sections, failed, time.monotonic() - begin)
    print(arguments.out / "README.md")
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
