#!/usr/bin/env python3
"""MAML on sinusoids in PyTorch by torch.func: vmap over tasks, grad inside grad. The same work as
scripts/peers/jax_maml.py. torch.compile is not used: it does not take the derivative of a derivative.

    scripts/peers/torch_maml.py [--inner-steps T] [--steps N] [--threads N]

Prints one JSON object."""

import argparse
import json
import math
import time

import torch
from torch.func import grad, grad_and_value, vmap

TASKS, SHOTS, QUERIES, WIDTHS = 25, 10, 10, (1, 40, 40, 1)
INNER_LR, META_LR = 0.01, 1e-3


def initial_weights():
    weights = []
    for fan_in, fan_out in zip(WIDTHS[:-1], WIDTHS[1:]):
        weights += [torch.randn(fan_in, fan_out) / fan_in**0.5, torch.zeros(fan_out)]
    return tuple(weights)


def mse(weights, x, y):
    layers = len(weights) // 2
    for i in range(layers):
        x = x @ weights[2 * i] + weights[2 * i + 1]
        if i + 1 < layers:
            x = torch.relu(x)
    return torch.mean((x - y) ** 2)


def draw_tasks():
    a = torch.empty(TASKS, 1, 1).uniform_(0.1, 5.0)
    p = torch.empty(TASKS, 1, 1).uniform_(0, math.pi)
    x = torch.empty(TASKS, SHOTS + QUERIES, 1).uniform_(-5.0, 5.0)
    y = a * torch.sin(x - p)
    return x[:, :SHOTS], y[:, :SHOTS], x[:, SHOTS:], y[:, SHOTS:]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--inner-steps", type=int, default=1)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--threads", type=int, default=0, help="0: PyTorch's own choice")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    torch.manual_seed(1)

    def task_loss(theta, x, y, xq, yq):
        for _ in range(arguments.inner_steps):
            theta = tuple(w - INNER_LR * g for w, g in zip(theta, grad(mse)(theta, x, y)))
        return mse(theta, xq, yq)

    def objective(weights, *tasks):
        return vmap(task_loss, in_dims=(None, 0, 0, 0, 0))(weights, *tasks).mean()

    weights = initial_weights()
    optimizer = torch.optim.Adam(weights, lr=META_LR, foreach=True)
    meta_gradient = grad_and_value(objective)

    def meta_step():
        gradients, loss = meta_gradient(weights, *draw_tasks())
        for w, g in zip(weights, gradients):
            w.grad = g
        optimizer.step()
        return loss

    begin = time.perf_counter()
    loss = meta_step()
    first_step_s = time.perf_counter() - begin
    for _ in range(50):
        meta_step()
    begin = time.perf_counter()
    for _ in range(arguments.steps):
        loss = meta_step()
    step_s = (time.perf_counter() - begin) / arguments.steps
    print(
        json.dumps(
            {"step_s": step_s, "first_step_s": first_step_s, "meta_loss": loss.item(), "torch": torch.__version__}
        )
    )


if __name__ == "__main__":
    main()
