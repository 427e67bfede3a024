"""What the peers' scripts share: the command line, weights and data as `mixflow grad` wrote them, timing, and the report."""

import argparse
import json
import pathlib
import resource
import sys
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import tools  # noqa: E402

# Of the meta-parameters, by kind.
PREFIX = {"init": "eta.init.", "lr": "eta.lr.", "loss_weights": "eta.loss_weights."}
TYPES = {"F32": np.float32, "F64": np.float64, "I32": np.int32, "BF16": np.uint16}
# A repetition lasts at least so long, as in `mixflow bench`.
REPETITION_S = 0.02


def parser():
    parser = argparse.ArgumentParser()
    parser.add_argument("inputs", type=pathlib.Path, help="a safetensors file of `mixflow grad`")
    parser.add_argument("config", type=pathlib.Path, help="the JSON file of the mixflow config it is of")
    parser.add_argument("--precision", choices=("f32", "bf16"), default="f32")
    parser.add_argument("--reps", type=int, default=3)
    return parser


def peak_rss_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def time_calls(run, reps):
    """(seconds per call of `run`, one for each repetition; the first call's seconds; the last result). A repetition is as
    many calls as take REPETITION_S. At least one call comes before the first, and of quick ones as many as fill one."""
    result = None

    def seconds(calls):
        nonlocal result
        begin = time.perf_counter()
        for _ in range(calls):
            result = None
            result = run()
        return (time.perf_counter() - begin) / calls

    first_s, calls = seconds(1), 1
    if first_s < 1:  # which may be slow for other reasons than its work
        calls = max(1, round(REPETITION_S / seconds(1)))
        seconds(calls)
    return [seconds(calls) for _ in range(reps)], first_s, result


class Workload:
    """config; eta, theta0, inner, outer: {name: array}. Tensors are read one by one, so that the process holds nothing of
    the file that its program does not use."""

    def __init__(self, inputs, config):
        self.config = json.loads(config.read_text())
        self.inputs = inputs
        self.index = tools.safetensors_index(inputs)[1]
        self.prefix = PREFIX[self.config["meta"]["parameters"][0]["kind"]]
        self.eta, self.theta0 = self.part(self.prefix), self.part("theta.")
        self.inner, self.outer = self.part("data.inner."), self.part("data.outer.")

    def read(self, name):
        kind, shape, begin, _ = self.index[name]
        with open(self.inputs, "rb") as file:
            file.seek(begin)
            values = np.fromfile(file, TYPES[kind], int(np.prod(shape))).reshape(shape)
        # The upper half of a float32.
        return (values.astype(np.uint32) << 16).view(np.float32) if kind == "BF16" else values

    def part(self, prefix):
        return {n.removeprefix(prefix): self.read(n) for n in self.index if n.startswith(prefix)}

    def compare(self, gradient, prefix=""):
        """Of a meta-gradient {name: array} with mixflow's in float32: the cosine, and the norm of the difference over the
        norm of mixflow's. `prefix`: of the file's names, which the gradient's leave out."""
        missing = {name for name in self.index if name.startswith(prefix or "meta_grad.")}
        missing -= {prefix + name for name in gradient}
        if missing:
            raise SystemExit(f"the gradient lacks {sorted(missing)[0]}, which mixflow's has")
        dot, own, theirs, apart = np.zeros(4)
        for name, value in gradient.items():
            a = np.asarray(value, np.float64).ravel()
            b = self.read(prefix + name).astype(np.float64).ravel()
            dot, own, theirs, apart = dot + a @ b, own + a @ a, theirs + b @ b, apart + (a - b) @ (a - b)
        return {"cosine": float(dot / (own * theirs) ** 0.5), "relative_error": float((apart / theirs) ** 0.5)}

    def report(self, gradient, **figures):
        """Prints figures, which hold the peak of the resident memory as it was before anything is compared."""
        prefix = f"meta_grad.{self.prefix.removeprefix('eta.')}"
        print(json.dumps(figures | self.compare(gradient, prefix)))
