#!/usr/bin/env python3
"""Compares `mixflow grad` in float64 with JAX: jax.grad through a plain Python loop over the inner steps, no custom
rules, written from the definitions of the problem and not from mixflow's sources (scripts/jax_reference/).

    scripts/compare_jax.py [--binary FILE] [--mode reverse] [--models mlp] [--only NAME] [--tolerance 1e-9]

For each case mixflow writes its inputs and its meta-gradient into a safetensors file; JAX starts from the same inputs.
Every meta_grad tensor must agree to a relative error (of norms) below the tolerance, and so must the final weights
and the losses. Exit code 1 if one does not. JAX is installed into build/venv where it is missing."""

import argparse
import pathlib
import sys
import tempfile
import time

import tools

tools.need("numpy", "jax")

import jax  # noqa: E402  (after `need`, which may start this script again)
import numpy as np  # noqa: E402

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_platforms", "cpu")

from jax_reference import mlp_cases, transformer_cases  # noqa: E402
from jax_reference.unroll import meta_gradient  # noqa: E402

TYPES = {"F64": np.float64, "F32": np.float32, "I32": np.int32}
CASES = {"mlp": mlp_cases.cases, "transformer": transformer_cases.cases}


def relative_error(a, b):
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("inf")
    scale = np.linalg.norm(b)
    return np.linalg.norm(a - b) / scale if scale > 0 else np.linalg.norm(a)


def compare(binary, config, mode, directory):
    """{tensor: relative error}; infinite for a tensor that only one side has."""
    tools.write_config(directory / "case.yaml", config)
    out = directory / "case.safetensors"
    tools.mixflow(binary, "grad", directory / "case.yaml", "--out", out, "-s", "precision=f64",
                  "-s", f"gradient.mode={mode}")  # fmt: skip
    _, stored = tools.read_safetensors(out)
    tensors = {n: np.frombuffer(data, TYPES[t]).reshape(s) for n, (t, s, data) in stored.items()}
    inputs = {n: v for n, v in tensors.items() if n.startswith(("eta.", "theta.", "data."))}
    expected = meta_gradient(config, inputs)
    results = tensors.keys() - inputs.keys()
    return {
        n: relative_error(tensors[n], expected[n]) if n in results and n in expected else float("inf")
        for n in sorted(results | expected.keys())
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    tools.add_binary(parser)
    parser.add_argument("--mode", default="mixed", help="gradient.mode (default: mixed)")
    parser.add_argument("--models", nargs="+", choices=CASES, default=list(CASES), help="default: all")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--tolerance", type=float, default=1e-9)
    arguments = parser.parse_args()
    binary = tools.check_binary(arguments.binary)

    run = failed = 0
    print(f"{'case':46} {'T':>3} {'N':>2} {'tensors':>7} {'worst meta_grad':>16} {'theta_T, losses':>16}")
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        cases = {title: c for model in arguments.models for title, c in CASES[model](directory).items()}
        for title, config in cases.items():
            if arguments.only not in title:
                continue
            start = time.monotonic()
            errors = compare(binary, config, arguments.mode, directory)
            gradients = {n: e for n, e in errors.items() if n.startswith("meta_grad.")}
            others = {n: e for n, e in errors.items() if n not in gradients}
            bad = [n for n, e in errors.items() if not e <= arguments.tolerance]
            run += 1
            failed += bool(bad)
            print(
                f"{title:46} {config['inner']['steps']:3} {config['meta']['batch']:2} {len(gradients):7}"
                f" {max(gradients.values()):16.1e} {max(others.values()):16.1e}  {time.monotonic() - start:5.1f} s"
                + (f"  FAILED: {', '.join(bad)}" if bad else ""),
                flush=True,
            )
    if not run:
        sys.exit(f"no case's name contains {arguments.only!r}")
    print(f"{f'{failed} of {run} cases differ' if failed else f'all {run} agree'}; tolerance {arguments.tolerance:g}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
