#!/usr/bin/env python3
"""Runs shipped configs and sweeps and checks what their comments promise.

A config says what it expects in comments of a fixed form, one a line:

    # expect: test.loss_after_5 < 0.3
    # expect: test.loss_after_5 < 0.5 * first.test.loss_after_5
    # expect: meta_loss@991 == 0.2805064580 +- 1e-7
    # takes: 20 s                  on two cores; told beside the time measured, checked by --times
    # needs: data/digits_x.npy     files without which it is skipped
    # seeds: 1                     instead of 1, 2, 3, where the config leaves nothing to chance

A name is a number of summary.json (meta_loss_last), of the last line of eval.jsonl of a split
(test.loss_after_5, validation.state_loss) or, after `first.`, of its first line; NAME@STEP is a
number of metrics.jsonl at that meta-step. In a sweep a name is a number of the sweep's summary (done,
failed), or NAME[lr=0.1, steps=2]: the mean of a number over the points with these settings, whose keys
are those of point.json or the ends of their paths. Where a sweep has several seeds, it is run once.

Usage: expect.py [--binary B] [--seeds 1,2,3] [--threads N] [--times] [CONFIG..]
Exit code: 0 all held, 1 some did not, 77 everything was skipped.
"""

import argparse
import ast
import json
import operator
import pathlib
import re
import sys
import tempfile
import time

import tools

CONFIGS = tools.ROOT / "configs"
NAME = re.compile(r"[A-Za-z_][\w.]*(?:@\d+)?(?:\[[^\]]*\])?")
COMPARE = re.compile(r"^(.*?)\s*(<=|>=|==|<|>)\s*(.*?)(?:\s*\+-\s*(\S+))?$")
ARITHMETIC = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
ORDER = {"<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge}
TIME_FACTOR = 2  # what another machine of the kind may take


class Lines:
    """The lines of a config's comments that are for this script."""

    def __init__(self, path):
        self.path = path
        self.expect, self.needs, self.takes, self.seeds = [], [], None, None
        for line in path.read_text().splitlines():
            found = re.match(r"#\s*(expect|takes|needs|seeds):\s*(.*?)\s*$", line)
            if not found:
                continue
            key, text = found.groups()
            if key == "expect":
                self.expect.append(text)
            elif key == "needs":
                self.needs.append(text)
            elif key == "seeds":
                self.seeds = [int(seed) for seed in text.split(",")]
            else:
                number, unit = text.split()
                self.takes = float(number) * {"s": 1, "min": 60, "h": 3600}[unit]

    def missing(self):
        return [file for file in self.needs if not (tools.ROOT / file).exists()]


def numbers_of(evaluation):
    """loss_after_5: 0.25, .. of one line of eval.jsonl."""
    numbers = {"state_loss": evaluation.get("state_loss")}
    for point in evaluation["points"]:
        for key, value in point.items():
            numbers[f"{key}_after_{point['inner_steps']}"] = value
    return numbers


class Run:
    """The numbers of a run directory by name."""

    def __init__(self, directory):
        self.summary = json.loads((directory / "summary.json").read_text())
        self.metrics = {line["step"]: line for line in tools.read_jsonl(directory / "metrics.jsonl")}
        self.first, self.last = {}, {}
        for evaluation in tools.read_jsonl(directory / "eval.jsonl"):
            self.first.setdefault(evaluation["split"], evaluation)
            self.last[evaluation["split"]] = evaluation

    def __call__(self, name):
        name, _, step = name.partition("@")
        if step:
            return self.metrics[int(step)][name]
        evaluations = self.last
        if name.startswith("first."):
            evaluations, name = self.first, name.removeprefix("first.")
        split, dot, number = name.partition(".")
        return numbers_of(evaluations[split])[number] if dot else self.summary[name]


def has(settings, key, value):
    """Whether a point has this value for the key, or for one whose path ends with it."""
    for path, found in settings.items():
        if path == key or path.endswith("." + key):
            return str(found) == value
    return False


class Sweep:
    """The numbers of a sweep directory by name."""

    def __init__(self, directory, summary):
        self.summary = summary
        self.points = []
        for path in sorted((directory / "points").iterdir()):
            if (path / "summary.json").exists():
                self.points.append((json.loads((path / "point.json").read_text()), Run(path)))

    def __call__(self, name):
        found = re.match(r"([^\[]+)\[(.*)\]$", name)
        if not found:
            return self.summary[name]
        name, wanted = found.groups()
        pairs = [pair.strip().split("=") for pair in wanted.split(",")]
        runs = [run for point, run in self.points if all(has(point["settings"], *pair) for pair in pairs)]
        if not runs:
            raise KeyError(f"no point with {wanted}")
        return sum(run(name) for run in runs) / len(runs)


def calculate(text, numbers):
    """The value of an expression of numbers, names, + - * / and brackets."""
    names = {}

    def stand_in(found):
        variable = f"v{len(names)}"
        names[variable] = float(numbers(found.group()))
        return variable

    # 1e-7 holds no name.
    text = re.sub(r"(?<![\w.])" + NAME.pattern, stand_in, text)

    def value(node):
        if isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
            return ARITHMETIC[type(node.op)](value(node.left), value(node.right))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return -value(node.operand)
        if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
            return node.value
        if isinstance(node, ast.Name):
            return names[node.id]
        raise ValueError(f"cannot read {text!r}")

    return value(ast.parse(text, mode="eval").body)


def check(expectation, numbers):
    """(whether it holds, what was found)"""
    parts = COMPARE.match(expectation)
    if not parts:
        raise ValueError(f"{expectation!r}: expected a comparison")
    left, relation, right, tolerance = parts.groups()
    found, wanted = calculate(left, numbers), calculate(right, numbers)
    if relation == "==":
        held = abs(found - wanted) <= float(tolerance or 0)
    else:
        held = ORDER[relation](found, wanted)
    return held, f"{found:.6g} {relation} {wanted:.6g}"


def run_config(options, path, seed, out):
    settings = ["-s", f"seed={seed}"] + [word for s in options.set for word in ("-s", s)]
    threads = ["--threads", str(options.threads)] if options.threads else []
    tools.run(options.binary, "train", path, "--quiet", "--out", out, *settings, *threads)
    return Run(out)


def run_sweep(options, path, out):
    threads = ["--threads", str(options.threads)] if options.threads else []
    summary = json.loads(tools.run(options.binary, "sweep", path, "--quiet", "--json", "--out", out, *threads))
    return Sweep(out, summary)


def check_file(options, path):
    """Prints a line for each expectation; the number of those that did not hold, or None if it was skipped."""
    lines = Lines(path)
    name = path.relative_to(CONFIGS) if path.is_relative_to(CONFIGS) else path
    if not lines.expect:
        print(f"{name}: says nothing that can be checked")
        return 1
    if lines.missing():
        print(f"{name}: skipped: {', '.join(lines.missing())} is missing")
        return None
    is_sweep = re.search(r"^base:", path.read_text(), re.M) is not None
    failed = 0
    for seed in [None] if is_sweep else lines.seeds or options.seeds:
        with tempfile.TemporaryDirectory() as scratch:
            out = pathlib.Path(scratch) / "run"
            start = time.monotonic()
            numbers = run_sweep(options, path, out) if is_sweep else run_config(options, path, seed, out)
            seconds = time.monotonic() - start
            which = f"{name}" + ("" if seed is None else f", seed {seed}")
            for expectation in lines.expect:
                held, found = check(expectation, numbers)
                failed += not held
                print(f"{'ok    ' if held else 'FAILED'} {which}: {expectation}   ({found})", flush=True)
            if lines.takes:
                held = not options.times or seconds <= TIME_FACTOR * lines.takes
                failed += not held
                print(f"{'ok    ' if held else 'FAILED'} {which}: {seconds:.1f} s, said {lines.takes:g} s", flush=True)
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    tools.add_binary(parser)
    parser.add_argument("--seeds", default="1,2,3", help="of each config; default 1,2,3")
    parser.add_argument("--threads", type=int, default=0, help="of each run; default: all cores")
    parser.add_argument("--times", action="store_true", help=f"more than {TIME_FACTOR} times `takes` is a failure")
    parser.add_argument("-s", "--set", action="append", default=[], metavar="KEY=VALUE", help="as in mixflow train")
    parser.add_argument("configs", nargs="*", type=pathlib.Path, help="default: all below configs/")
    options = parser.parse_args()
    options.binary = tools.check_binary(options.binary)
    options.seeds = [int(seed) for seed in options.seeds.split(",")]
    paths = [path.resolve() for path in options.configs] or sorted(CONFIGS.rglob("*.yaml"))
    results = []
    for path in paths:
        try:
            results.append(check_file(options, path))
        except (tools.Failed, KeyError, ValueError) as error:
            print(f"FAILED {path}: {error}")
            results.append(1)
    checked = [result for result in results if result is not None]
    if not checked:
        return 77
    return 1 if any(checked) else 0


if __name__ == "__main__":
    sys.exit(main())
