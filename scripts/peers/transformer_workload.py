"""What the JAX and the PyTorch transformer share: the command line, weights and data as `mixflow grad` wrote them, and the
report."""

import argparse
import json
import pathlib
import resource
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import tools  # noqa: E402

# Of the meta-parameters, by kind.
PREFIX = {"init": "eta.init.", "lr": "eta.lr.", "loss_weights": "eta.loss_weights."}


def parser(default_mode):
    parser = argparse.ArgumentParser()
    parser.add_argument("inputs", type=pathlib.Path)
    parser.add_argument("config", type=pathlib.Path)
    parser.add_argument("--mode", choices=("mixed", "reverse"), default=default_mode)
    parser.add_argument("--precision", choices=("f32", "bf16"), default="f32")
    parser.add_argument("--reps", type=int, default=3)
    return parser


def peak_rss_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Workload:
    """config; eta, theta0: {name: array}; tokens: inner [T, B, S+1], outer [B, S+1]."""

    def __init__(self, inputs, config):
        self.config = json.loads(config.read_text())
        _, tensors = tools.read_safetensors(inputs)
        types = {"F32": np.float32, "I32": np.int32}
        self.tensors = {n: np.frombuffer(raw, types[t]).reshape(shape) for n, (t, shape, raw) in tensors.items()}
        self.prefix = PREFIX[self.config["meta"]["parameters"][0]["kind"]]
        self.eta, self.theta0 = self.part(self.prefix), self.part("theta.")
        self.inner, self.outer = self.tensors["data.inner.tokens"][0], self.tensors["data.outer.tokens"][0]

    def part(self, prefix):
        return {n.removeprefix(prefix): x for n, x in self.tensors.items() if n.startswith(prefix)}

    def cosine(self, gradient):
        """Of a meta-gradient {name: float64 array} with mixflow's."""
        theirs = {n: x.astype(np.float64) for n, x in self.part(f"meta_grad.{self.prefix[4:]}").items()}
        dot = lambda a, b: sum(float(np.vdot(a[n], b[n])) for n in gradient)
        return dot(gradient, theirs) / (dot(gradient, gradient) * dot(theirs, theirs)) ** 0.5

    def report(self, gradient, **figures):
        print(json.dumps(figures | {"rss_bytes": peak_rss_bytes(), "cosine": self.cosine(gradient)}))
