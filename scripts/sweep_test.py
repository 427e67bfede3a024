#!/usr/bin/env python3
"""Sweeps, tested the hard way: killed, continued, run by several processes at once, with points that fail.

    scripts/sweep_test.py [--points 200] [--kills 10] [--quick] [--seed S] [--binary FILE]

1. A sweep whose process group gets SIGKILL at random moments and is started again each time.
2. Three processes on one directory at once, and a fourth that is killed.
3. Shards by GNU parallel (where it is installed), and a sweep stopped by SIGINT.
4. A point that crashes, one that runs out of memory, one with a NaN loss, one too large for its plan; then a retry.

After 1 to 3 every point must be done exactly once, never run by two at a time, and have the bytes of an uninterrupted
sweep: metrics, evaluations, TensorBoard events and checkpoint, without what measures time or memory. --quick: 24 points,
3 kills. Needs Python's standard library only."""

import argparse
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import resume_test
import tools

BASE = {
    "data": {"kind": "sinusoid", "shots": 5, "queries": 5},
    "model": {"kind": "mlp", "hidden": [8]},
    "inner": {"steps": 1},
    "meta": {
        "parameters": [{"kind": "init"}],
        "batch": 4,
        "steps": 400,
        "checkpoint_every": 50,
        "eval": {"every": 100, "tasks": 8},
    },
}


class Campaign:
    def __init__(self, binary, directory, points, rng):
        self.binary, self.directory, self.rng = binary, directory, rng
        tools.write_config(directory / "base.yaml", BASE)
        self.file = directory / "sweep.yaml"
        seeds = list(range(1, points // 8 + 1))
        axes = {"inner.steps": [1, 2], "inner.optimizer.lr": [0.003, 0.01, 0.02, 0.03]}
        tools.write_config(self.file, {"base": str(directory / "base.yaml"), "grid": axes, "seeds": seeds})
        self.points = 8 * len(seeds)
        self.reference = directory / "reference"
        start = time.monotonic()
        self.run(self.reference, "--jobs", "2")
        self.seconds = time.monotonic() - start
        self.check(self.reference, compare=False)

    def start(self, out, *arguments, file=None):
        """A sweep in a process group of its own. One thread for a point, so that results can be compared."""
        command = [self.binary, "sweep", file or self.file, "--out", out, "--threads", "1", "--quiet", *arguments]
        return subprocess.Popen(
            [str(word) for word in command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def end(self, process, code=0):
        out, err = process.communicate()
        if process.returncode != code:
            sys.exit(f"exit code {process.returncode}, expected {code}:\n{out}{err}")
        return out

    def run(self, out, *arguments, code=0, file=None):
        return self.end(self.start(out, *arguments, file=file), code)

    def check(self, out, compare=True):
        """Every point done once, attempts one after the other, results as in the reference: the number of points that
        were begun more than once."""
        ledger = tools.read_jsonl(out / "ledger.jsonl")
        ids = [json.loads(line)["id"] for line in (out / "points.jsonl").read_text().splitlines()]
        if len(ids) != self.points:
            sys.exit(f"{out}: {len(ids)} points, expected {self.points}")
        again = 0
        for point in ids:
            records = [r for r in ledger if r["point"] == point]
            states = [r["state"] for r in records]
            if states.count("done") != 1 or states[-1] != "done":
                sys.exit(f"{out}: {point} has {states}")
            attempts = [r["attempt"] for r in records if "attempt" in r]
            if attempts != sorted(attempts):
                sys.exit(f"{out}: {point} was run by two at a time: attempts {attempts}")
            again += attempts[-1] > 1
            found = resume_test.differences(self.reference / "points" / point, out / "points" / point) if compare else []
            if found:
                sys.exit(f"{out}: {point} differs from the uninterrupted sweep's:\n" + "\n".join(found))
        return again

    def killed(self, kills):
        out = self.directory / "killed"
        for _ in range(kills):
            process = self.start(out, "--jobs", "2")
            try:
                process.wait(self.rng.uniform(0, 1.2) * self.seconds / kills)
                sys.exit("the sweep was done before it could be killed; give it more points")
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        self.run(out, "--jobs", "2")
        again = self.check(out)
        print(f"{kills} times SIGKILL to the group: {self.points} points done once, {again} of them begun more than "
              "once, same bytes", flush=True)

    def together(self):
        out = self.directory / "together"
        victim = self.start(out)
        others = [self.start(out) for _ in range(3)]
        time.sleep(0.3 * self.seconds)
        os.killpg(victim.pid, signal.SIGKILL)
        victim.communicate()
        for process in others:
            self.end(process)
        again = self.check(out)
        owners = {r["pid"] for r in tools.read_jsonl(out / "ledger.jsonl") if r["state"] == "running"}
        dead = [r for r in tools.read_jsonl(out / "ledger.jsonl") if r["state"] == "running" and r["pid"] == victim.pid]
        print(f"three processes at once and one killed ({len(owners)} ran points, the killed one began {len(dead)}): "
              f"{self.points} points done once, {again} taken over, same bytes", flush=True)

    def shards(self):
        if shutil.which("parallel") is None:
            print("GNU parallel is not installed: shards by it were not tried")
            return
        out = self.directory / "shards"
        command = f"seq 3 | parallel -j3 {self.binary} sweep {self.file} --out {out} --threads 1 --quiet --shard {{}}/3"
        subprocess.run(command, shell=True, check=True, stdout=subprocess.DEVNULL)
        self.check(out)
        print(f"three shards by GNU parallel: {self.points} points done once, same bytes", flush=True)

    def interrupted(self):
        out = self.directory / "interrupted"
        process = self.start(out, "--jobs", "2")
        time.sleep(0.4 * self.seconds)
        process.send_signal(signal.SIGINT)
        self.end(process, 130)
        given_back = [r for r in tools.read_jsonl(out / "ledger.jsonl") if r.get("reason") == "interrupted"]
        self.run(out, "--jobs", "2")
        self.check(out)
        print(f"SIGINT: exit code 130, {len(given_back)} points given back, done when continued, same bytes", flush=True)

    def failing(self):
        """A crash, too little memory, a NaN, a plan that does not fit; one point is well."""
        table = self.directory / "rows.csv"  # 16 MB of text: more than the limit, by its plan
        table.write_text("a,b,c,d\n" + "1,2,3,4\n5,6,7,8\n" * 1_000_000)
        table = {"kind": "tabular", "target": "regression", "x": str(table), "target_column": "d"}
        table |= {"batch": 8, "outer_batch": 8}
        file = self.directory / "failing.yaml"
        crash = {"meta.steps": 60000}
        points = [crash, {"data": table}, {"inner.optimizer.lr": 1e30}, {"model.hidden": [4000, 4000]}, {"seed": 7}]
        tools.write_config(file, {"base": str(self.directory / "base.yaml"), "list": points, "memory": "150MiB"})
        out = self.directory / "failing"
        process = self.start(out, "--jobs", "2", "--json", file=file)
        record = self.running(out, "steps=60000")
        time.sleep(0.3)
        os.kill(record["child"], signal.SIGSEGV)
        summary = json.loads(self.end(process, 1))
        kinds = sorted(problem["kind"] for problem in summary["problems"])
        if (summary["done"], kinds) != (1, ["crash", "non_finite", "skipped", "skipped"]):
            sys.exit(f"failing points: {json.dumps(summary, indent=1)}")
        for problem in summary["problems"]:
            print(f"  {problem['kind']}: {problem['reason']}")
        self.run(out, "--jobs", "2", code=1, file=file)
        retried = json.loads(self.run(out, "--jobs", "2", "--retry-failed", "--json", code=1, file=file))
        if retried["done"] != 2 or retried["failed"] != 1:
            sys.exit(f"retried points: {json.dumps(retried, indent=1)}")
        print("points that fail: recorded with their reasons, the others go on, exit code 1; --retry-failed runs them"
              " again", flush=True)

    def running(self, out, prefix):
        """The record of the point's first start."""
        for _ in range(600):
            time.sleep(0.05)
            ledger = tools.read_jsonl(out / "ledger.jsonl") if (out / "ledger.jsonl").exists() else []
            for record in ledger:
                if record["state"] == "running" and record["point"].startswith(prefix):
                    return record
        sys.exit(f"{out}: no point {prefix} was started")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    tools.add_binary(parser)
    parser.add_argument("--points", type=int, default=200)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--quick", action="store_true", help="24 points, 3 kills")
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    arguments = parser.parse_args()
    binary = tools.check_binary(arguments.binary)
    points, kills = (24, 3) if arguments.quick else (arguments.points, arguments.kills)
    with tempfile.TemporaryDirectory() as name:
        campaign = Campaign(binary, pathlib.Path(name), points, random.Random(arguments.seed))
        print(f"{campaign.points} points in {campaign.seconds:.1f} s without a break", flush=True)
        campaign.killed(kills)
        campaign.together()
        campaign.shards()
        campaign.interrupted()
        campaign.failing()
    print("every sweep ends as the uninterrupted one")


if __name__ == "__main__":
    main()
