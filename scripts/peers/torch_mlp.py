#!/usr/bin/env python3
"""One meta-step of few-shot classification with an MLP in PyTorch, as its users write it: vmap over tasks and grad inside
grad of torch.func. torch.compile is not used: it does not take the derivative of a derivative.

    scripts/peers/torch_mlp.py INPUTS CONFIG [--reps N] [--precision bf16]

As jax_mlp.py, which says what INPUTS and CONFIG are. bf16: torch.autocast. Prints one JSON object."""

import contextlib

import torch
import torch.nn.functional as F
import workload


def cross_entropy(theta, x, y):
    layers = len(theta) // 2
    for i in range(layers):
        x = F.linear(x, theta[f"layers.{i}.weight"].T, theta[f"layers.{i}.bias"])
        if i + 1 < layers:
            x = torch.relu(x)
    return F.cross_entropy(x.float(), y)


def meta_gradient(config, eta, inner, outer):
    """{name: gradient}."""
    T, lr = config["inner"]["steps"], config["inner"]["optimizer"]["lr"]

    def task_loss(theta, x, y, xq, yq):
        for _ in range(T):
            g = torch.func.grad(cross_entropy)(theta, x, y)
            theta = {n: w - lr * g[n] for n, w in theta.items()}
        return cross_entropy(theta, xq, yq)

    def objective(eta):
        tasks = (inner["x"][:, 0], inner["y"][:, 0], outer["x"], outer["y"])
        return torch.func.vmap(task_loss, in_dims=(None, 0, 0, 0, 0))(eta, *tasks).mean()

    return torch.func.grad(objective)({n: x.detach() for n, x in eta.items()})


def main():
    options = workload.parser().parse_args()
    work = workload.Workload(options.inputs, options.config)
    eta = {n: torch.from_numpy(x).clone().requires_grad_() for n, x in work.eta.items()}
    inner, outer = (
        {"x": torch.from_numpy(part["x"]), "y": torch.from_numpy(part["y"]).long()} for part in (work.inner, work.outer)
    )
    optimizer = torch.optim.Adam(list(eta.values()), lr=work.config["meta"]["optimizer"]["lr"], foreach=True)
    low = torch.autocast("cpu", torch.bfloat16) if options.precision == "bf16" else contextlib.nullcontext()
    bars = []

    def run():
        with low:
            gradient = meta_gradient(work.config, eta, inner, outer)
        if not bars:
            bars.append(gradient)  # at the weights of INPUTS, before the first update
        for n, w in eta.items():
            w.grad = gradient[n]
        optimizer.step()

    step_s, first_s, _ = workload.time_calls(run, options.reps)
    rss_bytes = workload.peak_rss_bytes()
    work.report(
        {n: x.numpy() for n, x in bars[0].items()},
        rss_bytes=rss_bytes,
        step_s=step_s,
        first_s=first_s,
        version=torch.__version__,
    )


if __name__ == "__main__":
    main()
