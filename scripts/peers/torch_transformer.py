#!/usr/bin/env python3
"""One meta-gradient of a transformer on tokens in PyTorch, as its users write it: autograd.grad with create_graph through
the unroll. Tasks: maml, per_parameter_lr, loss_weighting (DataRater's scoring network); Adam inside. --mode mixed: the
inner gradient as an autograd.Function whose backward is torch.func.jvp of torch.func.grad.

    scripts/peers/torch_transformer.py INPUTS CONFIG [--mode reverse|mixed] [--reps N] [--precision bf16]

As jax_transformer.py, which says what INPUTS and CONFIG are. bf16: torch.autocast. Prints one JSON object."""

import contextlib
import math

import torch
import torch.nn.functional as F
import workload

EPS, B1, B2 = 1e-8, 0.9, 0.999


def rms_norm(h, gain):
    return h * torch.rsqrt((h * h).mean(-1, keepdim=True) + 1e-6) * gain


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def hidden(model, w, tokens, causal):
    H, K, L = model["heads"], model["kv_size"], model["layers"]
    h = w["embed"][tokens]
    B, S, _ = h.shape
    angle = torch.arange(S)[:, None] * 10000.0 ** (-torch.arange(K // 2) / (K // 2))
    cos, sin = torch.cos(angle), torch.sin(angle)
    mask = torch.tril(torch.ones(S, S, dtype=torch.bool))
    blocks = {n.removeprefix("blocks."): x.unbind(0) for n, x in w.items() if n.startswith("blocks.")}
    for i in range(L):
        p = {n: x[i] for n, x in blocks.items()}
        a = rms_norm(h, p["norm1"])
        q, k, v = ((a @ p[n]).view(B, S, H, K).transpose(1, 2) for n in ("wq", "wk", "wv"))
        scores = rotate(q, cos, sin) @ rotate(k, cos, sin).transpose(-1, -2) / math.sqrt(K)
        if causal:
            scores = scores.masked_fill(~mask, -1e9)
        h = h + (torch.softmax(scores, -1) @ v).transpose(1, 2).reshape(B, S, H * K) @ p["wo"]
        h = h + F.gelu(rms_norm(h, p["norm2"]) @ p["w1"], approximate="tanh") @ p["w2"]
    return rms_norm(h, w["norm"])


def example_losses(model, theta, tokens):
    logits = (hidden(model, theta, tokens[:, :-1], True) @ theta["head"]).float()
    B, S, V = logits.shape
    return F.cross_entropy(logits.view(-1, V), tokens[:, 1:].reshape(-1), reduction="none").view(B, S).mean(1)


def make_inner_loss(config):
    model, scorer = config["model"], config["meta"]["parameters"][0].get("model")

    def loss(theta, eta, tokens):
        losses = example_losses(model, theta, tokens)
        if scorer is None:
            return losses.mean()
        score = hidden(scorer, eta, tokens[:, :-1], False).mean(1) @ eta["score"]
        return torch.softmax(score.float(), 0) @ losses

    return loss


def mixed_gradient(loss, names, eta_names):
    """(theta.., eta.., tokens) -> d loss / d theta.., whose backward is forward over reverse."""

    class Gradient(torch.autograd.Function):
        @staticmethod
        def forward(ctx, tokens, *values):
            ctx.tokens = tokens
            ctx.save_for_backward(*values)
            theta = [v.detach().requires_grad_() for v in values[: len(names)]]
            eta = dict(zip(eta_names, values[len(names) :]))
            with torch.enable_grad():
                return torch.autograd.grad(loss(dict(zip(names, theta)), eta, tokens), theta)

        @staticmethod
        def backward(ctx, *bars):
            values = ctx.saved_tensors
            theta = dict(zip(names, values[: len(names)]))
            eta = dict(zip(eta_names, values[len(names) :]))
            both = torch.func.grad(lambda t, e: loss(t, e, ctx.tokens), argnums=(0, 1) if eta else 0)
            _, out = torch.func.jvp(lambda t: both(t, eta), (theta,), (dict(zip(names, bars)),))
            h, m = out if eta else (out, {})
            return (None, *(h[n] for n in names), *(m[n] for n in eta_names))

    return Gradient.apply


def meta_gradient(config, options, theta0, eta, inner, outer):
    kind, adam = config["meta"]["parameters"][0]["kind"], config["inner"]["optimizer"]
    loss = make_inner_loss(config)
    eta = {n: x.detach().requires_grad_() for n, x in eta.items()}
    start = eta if kind == "init" else {n: x.detach().requires_grad_() for n, x in theta0.items()}
    names = list(start)
    in_loss = eta if kind == "loss_weights" else {}
    gradient = mixed_gradient(loss, names, list(in_loss))
    theta = list(start.values())
    m, v = [torch.zeros_like(x) for x in theta], [torch.zeros_like(x) for x in theta]
    rates = [eta[n] if kind == "lr" else adam["lr"] for n in names]
    for t, tokens in enumerate(inner, 1):
        if options.mode == "mixed":
            g = gradient(tokens, *theta, *in_loss.values())
        else:
            g = torch.autograd.grad(loss(dict(zip(names, theta)), in_loss, tokens), theta, create_graph=True)
        m = [B1 * a + (1 - B1) * b for a, b in zip(m, g)]
        v = [B2 * a + (1 - B2) * b * b for a, b in zip(v, g)]
        c1, c2 = 1 - B1**t, 1 - B2**t
        theta = [
            w - r * (a / c1) / (torch.sqrt(b / c2 + adam["eps_root"]) + EPS) for w, a, b, r in zip(theta, m, v, rates)
        ]
    value = example_losses(config["model"], dict(zip(names, theta)), outer).mean()
    return value.detach(), dict(zip(eta, torch.autograd.grad(value, list(eta.values()))))


def main():
    parser = workload.parser()
    parser.add_argument("--mode", choices=("mixed", "reverse"), default="reverse")
    options = parser.parse_args()
    work = workload.Workload(options.inputs, options.config)
    eta, theta0 = ({n: torch.from_numpy(x) for n, x in part.items()} for part in (work.eta, work.theta0))
    inner, outer = (torch.from_numpy(part["tokens"][0]).long() for part in (work.inner, work.outer))
    low = torch.autocast("cpu", torch.bfloat16) if options.precision == "bf16" else contextlib.nullcontext()

    def run():
        with low:
            return meta_gradient(work.config, options, theta0, eta, inner, outer)

    step_s, first_s, (loss, bar) = workload.time_calls(run, options.reps)
    rss_bytes = workload.peak_rss_bytes()
    work.report(
        {n: x.numpy() for n, x in bar.items()},
        rss_bytes=rss_bytes,
        step_s=step_s,
        first_s=first_s,
        outer_loss=float(loss),
        version=torch.__version__,
    )


if __name__ == "__main__":
    main()
