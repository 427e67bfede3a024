#!/usr/bin/env python3
"""Writes data/hypertorch_x.npy [1000, 20] f64 and data/hypertorch_y.npy [1000] i32 for
configs/published/hypertorch_logistic_l2.yaml: the data of hypertorch's logistic-regression example
(Grazzi et al., ICML 2020), drawn in its order from its seed. Rows 0-499 are for training, rows 500-999 for
validation, as the `ordered` split takes them.

    scripts/hypertorch_data.py [--out DIR] [--check]

--check also runs the experiment's first 990 meta-steps in NumPy and prints the validation losses."""

import argparse
import pathlib

import tools

tools.need("numpy")

import numpy as np  # noqa: E402

ROWS, FEATURES = 1000, 20


def draw():
    """Training rows first, then the validation rows."""
    np.random.seed(1)
    w = np.random.randn(FEATURES)
    x = np.random.randn(ROWS, FEATURES)
    y = (x @ w + 0.1 * np.random.randn(ROWS) > 0).astype(np.int32)
    order = np.random.permutation(ROWS)
    validation, train = order[: ROWS // 2], order[ROWS // 2 :]
    rows = np.concatenate([train, validation])
    return x[rows], y[rows]


def bce(z, y):
    return np.mean(np.logaddexp(0, z) - y * z)


def validation_losses(x, y, meta_steps, inner_steps=100, window=10, lr=0.1):
    """The experiment by hand: the gradient through the last `window` steps of gradient descent."""
    half = ROWS // 2
    (xt, yt), (xv, yv) = (x[:half], y[:half]), (x[half:], y[half:])
    sigmoid = lambda z: 1 / (1 + np.exp(-z))
    h, velocity, losses = np.ones(FEATURES), np.zeros(FEATURES), []
    for _ in range(meta_steps):
        w, path = np.zeros(FEATURES), []
        for _ in range(inner_steps):
            path.append(w)
            w = w - lr * (xt.T @ (sigmoid(xt @ w) - yt) / half + h * w)
        losses.append(bce(xv @ w, yv))
        a, gradient = xv.T @ (sigmoid(xv @ w) - yv) / half, np.zeros(FEATURES)
        for w in path[: -window - 1 : -1]:
            p = sigmoid(xt @ w)
            gradient -= lr * a * w
            a = a - lr * (xt.T @ (p * (1 - p) * (xt @ a)) / half + h * a)
        velocity = 0.9 * velocity + gradient
        h = np.maximum(h - velocity, 1e-8)
    return losses


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("data"))
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    x, y = draw()
    arguments.out.mkdir(parents=True, exist_ok=True)
    np.save(arguments.out / "hypertorch_x.npy", x)
    np.save(arguments.out / "hypertorch_y.npy", y)
    print(f"{arguments.out}/hypertorch_x.npy {x.shape}, {arguments.out}/hypertorch_y.npy {y.shape}")
    if arguments.check:
        losses = validation_losses(x, y, 991)
        print(f"validation loss: {losses[0]:.10f} at the first meta-step, {losses[990]:.10f} at step 990")


if __name__ == "__main__":
    main()
