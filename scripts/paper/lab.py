"""What the experiments plan and measure with: configs, the techniques as settings, and the binary's plan and bench."""

import concurrent.futures
import itertools
import json
import math
import os
import shutil
import signal
import subprocess
import time

import tools


WHOLE = {"attention": -1, "feed_forward": -1, "cross_entropy": -1}  # S x S scores, logits of all tokens


def gradient(mode, block, save_inner_grads):
    """The paper's three techniques, each a switch; rematerialisation of inner steps is on in every experiment, and
    nothing is computed by blocks of tokens, as in the paper."""
    remat = {"step": True, "block": block, "save_inner_grads": save_inner_grads}
    return {"mode": mode, "remat": remat, "blocks": WHOLE}


PLAIN = gradient("reverse", False, False)  # the baseline of (ii)
REVERSE = gradient("reverse", True, True)  # the baseline of (i): all but the mode
MIXED = gradient("mixed", True, True)  # all three techniques
BLOCKED = {"mode": "mixed", "remat": MIXED["remat"]}  # (iii): and attention, feed-forward, output layer by blocks
VARIANTS = {"plain reverse": PLAIN, "reverse": REVERSE, "mixed": MIXED}

ADAM = {"kind": "adam", "lr": 1e-3}
TASKS = ("maml", "per_parameter_lr", "loss_weighting")


def shape(layers, d_model, ffw, heads, kv_size, vocab):
    return {
        "kind": "transformer",
        "layers": layers,
        "d_model": d_model,
        "ffw": ffw,
        "heads": heads,
        "kv_size": kv_size,
        "vocab": vocab,
    }


def sized(size, vocab=32000):
    """A row of the Chinchilla table."""
    return {"kind": "transformer", "size": size, "vocab": vocab}


SHAPE_3M = shape(layers=4, d_model=256, ffw=1024, heads=4, kv_size=64, vocab=256)
SHAPE_58M = shape(layers=8, d_model=512, ffw=2048, heads=8, kv_size=64, vocab=32000)


def meta_parameters(task, scorer):
    return {
        "maml": [{"kind": "init"}],
        "per_parameter_lr": [{"kind": "lr", "granularity": "per_parameter"}],
        "loss_weighting": [{"kind": "loss_weights", "model": scorer}],
    }[task]


def experiment(model, T, B, S, variant, task="maml", scorer=None):
    """One task of the paper on random tokens: neither memory nor time depends on their values."""
    return {
        "name": task,
        "data": {"kind": "random_tokens", "sequence": S, "batch": B},
        "model": model,
        "inner": {"loss": "cross_entropy", "steps": T, "optimizer": ADAM},
        "meta": {"parameters": meta_parameters(task, scorer), "optimizer": ADAM, "batch": 1},
        "gradient": variant,
    }


class Budget:
    """Seconds that an experiment may spend; what does not fit is dropped, and the tables say so."""

    def __init__(self, seconds):
        self.end = time.monotonic() + seconds

    def left(self):
        return self.end - time.monotonic()


class Lab:
    """Runs the binary. `matmul_gflops` is the machine's measured peak, from which all predicted times come. What `plan` and
    `bench` print under a name stays in out/json/, what a sweep trains in out/trained/, for `mixflow report`."""

    KILL_AFTER_S = 300  # an interrupted measurement finishes its meta-step first

    def __init__(self, binary, directory, out, quick):
        self.binary, self.directory, self.quick = binary, directory, quick
        self.out, self.json, self.trained = out, out / "json", out / "trained"
        self.json.mkdir(exist_ok=True)
        self.kept = {}  # file by name; what an earlier reproduction left in out/json/ is not among them
        self.info = json.loads(tools.mixflow(binary, "info", "--json"))
        self.matmul_gflops = self.info["matmul_gflops"]["f32"]["all_threads"]
        self.cores = len(os.sched_getaffinity(0))
        self.configs = 0
        self.has_times = False  # of what is kept

    def write(self, config):
        self.configs += 1
        path = self.directory / str(self.configs) / f"{config['name']}.yaml"
        path.parent.mkdir()
        tools.write_config(path, config)
        return path

    def plan(self, configs):
        """The plan of each config, in their order. Planning takes one core, so as many processes as there are."""
        paths = [self.write(config) for config in configs]
        at_once = min(128, -(-len(paths) // self.cores))
        parts = [paths[i : i + at_once] for i in range(0, len(paths), at_once)]
        with concurrent.futures.ThreadPoolExecutor(self.cores) as pool:
            plans = list(itertools.chain.from_iterable(pool.map(self.plan_files, parts)))
        for row in plans:
            row["predicted_s"] = row["flop"] / (self.matmul_gflops * 1e9)
        return plans

    def plan_files(self, paths):
        return json.loads(tools.mixflow(self.binary, "plan", *paths, "--json"))["plans"]

    def plan_over(self, name, config, over):
        """The plan of every combination of the lists `over`, [(key, values)], the first varying slowest, kept under
        this name."""
        path = self.write(config)
        out = tools.mixflow(self.binary, "plan", path.name, "--json", *over_options(over), cwd=path.parent)
        self.keep(name, out)
        return json.loads(out)["plans"]

    def keep(self, name, text):
        self.kept[name] = self.json / f"{name}.json"
        self.kept[name].write_text(text)

    def files(self, start):
        """Those kept under names that start so."""
        return [path for name, path in sorted(self.kept.items()) if name.startswith(start)]

    def bench(self, config, over, reps, seconds, name=None):
        """Measures every combination of the lists `over`, [(key, values)], the first varying slowest, as one
        interleaved run that is stopped after `seconds` and then keeps the repetitions it has. One row for each
        combination; a row that could not be measured tells its `reason`. Kept under `name`, if it has one: then rows
        have their plan whether they were measured or not."""
        plans = self.plan_over(name, config, over) if name else itertools.repeat({}, math.prod(len(v) for _, v in over))
        rows = [plan | {"measured": False, "reason": "no time left"} for plan in plans]
        if seconds <= 0:
            return rows
        path = self.write(config)
        command = [self.binary, "bench", path.name, "--json", "--quiet", "--reps", reps, *over_options(over)]
        command = [str(c) for c in command]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, cwd=path.parent, stdout=pipe, stderr=pipe, text=True)
        try:
            out, error = self.output(process, seconds)
        except subprocess.TimeoutExpired:
            return rows
        if process.returncode not in (0, 130):
            raise SystemExit(f"{' '.join(command)}\nexit code {process.returncode}\n{error.strip()}")
        found = json.loads(out)["rows"] if out.strip() else []
        if name and len(found) == len(rows):
            self.keep(name, out)
            self.has_times |= any(row["measured"] for row in found)
        return found + rows[len(found) :]

    def output(self, process, seconds):
        try:
            return process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
        try:
            return process.communicate(timeout=self.KILL_AFTER_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise

    def sweep(self, name, *arguments):
        """Trains the points of configs/sweeps/<name>.yaml, one at a time; the sweep's directory, which is made anew, so
        that times are of this machine and build."""
        out = self.trained / name
        if out.exists():
            shutil.rmtree(out)
        file = tools.ROOT / "configs" / "sweeps" / f"{name}.yaml"
        tools.mixflow(self.binary, "sweep", file, "--out", out, "--jobs", "1", "--quiet", *arguments)
        return out

    def report(self, paths, *arguments):
        """What `mixflow report` prints of these files and directories, which it names relative to `out`."""
        paths = [path.relative_to(self.out) for path in paths]
        return tools.mixflow(self.binary, "report", *paths, *arguments, cwd=self.out)


def over_options(over):
    return [f"--over={key}={','.join(json.dumps(value) for value in values)}" for key, values in over]


def measured(row):
    """What tables show of a measurement; empty cells where there is none."""
    if not row["measured"]:
        return {"measured_bytes": None, "median_s": None, "min_s": None, "max_s": None, "reps": 0, "reason": row["reason"]}
    step = row["step_s"]
    return {
        "measured_bytes": row["arena_peak_bytes"],
        "rss_bytes": row["rss_bytes"],
        "median_s": step["median"],
        "min_s": step["min"],
        "max_s": step["max"],
        "reps": len(step["all"]),
        "gflops": row["gflops"],
        "reason": None,
    }


def median_s(row):
    """Seconds per meta-step, or None."""
    return row["step_s"]["median"] if row.get("measured") else None


def rounds_text(rows):
    """How many repetitions the measurements of one interleaved run have, for the page."""
    counts = sorted({len(row["step_s"]["all"]) if row["measured"] else 0 for row in rows})
    return " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))


def carried_bytes(plan):
    """What the unroll keeps for the backward pass: the states of its steps and the saved gradients."""
    return next(phase["kept_bytes"] for phase in plan["phases"] if phase["phase"] == "unroll")
