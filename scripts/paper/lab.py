"""What the experiments plan and measure with: configs, the techniques as settings, and the binary's plan and bench."""

import concurrent.futures
import itertools
import json
import os
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
    """Runs the binary. `matmul_gflops` is the machine's measured peak, from which all predicted times come."""

    KILL_AFTER_S = 300  # an interrupted measurement finishes its meta-step first

    def __init__(self, binary, directory, quick):
        self.binary, self.directory, self.quick = binary, directory, quick
        self.info = json.loads(tools.mixflow(binary, "info", "--json"))
        self.matmul_gflops = self.info["matmul_gflops"]["f32"]["all_threads"]
        self.cores = len(os.sched_getaffinity(0))
        self.files = 0

    def write(self, config):
        self.files += 1
        path = self.directory / f"{self.files}.yaml"
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

    def bench(self, config, over, reps, seconds):
        """Measures every combination of the lists `over`, [(key, values)], the first varying slowest, as one
        interleaved run that is stopped after `seconds` and then keeps the repetitions it has. One row for each
        combination; a row that could not be measured tells its `reason`."""
        rows = [{"measured": False, "reason": "no time left"} for _ in itertools.product(*(v for _, v in over))]
        if seconds <= 0:
            return rows
        command = [self.binary, "bench", self.write(config), "--json", "--quiet", "--reps", reps]
        for key, values in over:
            command += ["--over", f"{key}={','.join(json.dumps(value) for value in values)}"]
        command = [str(c) for c in command]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, cwd=tools.ROOT, stdout=pipe, stderr=pipe, text=True)
        try:
            out, error = self.output(process, seconds)
        except subprocess.TimeoutExpired:
            return rows
        if process.returncode not in (0, 130):
            raise SystemExit(f"{' '.join(command)}\nexit code {process.returncode}\n{error.strip()}")
        found = json.loads(out)["rows"] if out.strip() else []
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


def carried_bytes(plan):
    """What the unroll keeps for the backward pass: the states of its steps and the saved gradients."""
    return next(phase["kept_bytes"] for phase in plan["phases"] if phase["phase"] == "unroll")
