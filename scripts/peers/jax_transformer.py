#!/usr/bin/env python3
"""One meta-gradient of a transformer on tokens in JAX, as its users write it: jitted, lax.scan over inner steps and over
blocks, jax.checkpoint with policies, donated nothing. Tasks: maml, per_parameter_lr, loss_weighting (DataRater's scoring
network); Adam inside; reverse over reverse, or mixed mode as a custom derivative of the inner gradient.

    scripts/peers/jax_transformer.py INPUTS CONFIG [--mode mixed|reverse] [--block-remat 0|1] [--save-inner-grads 0|1]
        [--reps N] [--precision bf16] [--compile-only]

Each inner step is rematerialised; --save-inner-grads keeps its gradient. --compile-only prints the memory that XLA plans
and runs nothing. INPUTS: a safetensors file of `mixflow grad`, with weights, data and its meta-gradient to compare with. CONFIG: the
JSON file of the mixflow config it is of. Prints one JSON object."""

import json
import time

import jax
import jax.numpy as jnp
import numpy as np
import workload
from jax.ad_checkpoint import checkpoint_name

EPS, B1, B2 = 1e-8, 0.9, 0.999


def rms_norm(h, gain):
    return h * jax.lax.rsqrt(jnp.mean(h.astype(jnp.float32) ** 2, -1, keepdims=True) + 1e-6).astype(h.dtype) * gain


def rotate(x):
    half = x.shape[-1] // 2
    angle = jnp.arange(x.shape[1])[:, None] * 10000.0 ** (-jnp.arange(half) / half)
    cos, sin = (f(angle)[:, None, :].astype(x.dtype) for f in (jnp.cos, jnp.sin))
    a, b = jnp.split(x, 2, -1)
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], -1)


def block(model, h, p, causal):
    B, S, _ = h.shape
    H, K = model["heads"], model["kv_size"]
    a = rms_norm(h, p["norm1"])
    q, k, v = ((a @ p[n]).reshape(B, S, H, K) for n in ("wq", "wk", "wv"))
    scores = jnp.einsum("bqhk,bshk->bhqs", rotate(q), rotate(k)).astype(jnp.float32) / np.sqrt(K)
    if causal:
        scores = jnp.where(jnp.tril(jnp.ones((S, S), bool)), scores, -1e9)
    weights = jax.nn.softmax(scores, -1).astype(h.dtype)
    h = h + jnp.einsum("bhqs,bshk->bqhk", weights, v).reshape(B, S, H * K) @ p["wo"]
    return h + jax.nn.gelu(rms_norm(h, p["norm2"]) @ p["w1"], approximate=True) @ p["w2"]


def hidden(model, w, tokens, causal, options):
    w = {n: x.astype(options.dtype) for n, x in w.items()}
    step = lambda h, p: (block(model, h, p, causal), None)
    if options.block_remat:
        step = jax.checkpoint(step)
    blocks = {n.removeprefix("blocks."): x for n, x in w.items() if n.startswith("blocks.")}
    h, _ = jax.lax.scan(step, w["embed"][tokens], blocks)
    return rms_norm(h, w["norm"]), w


def example_losses(model, theta, tokens, options):
    h, w = hidden(model, theta, tokens[:, :-1], True, options)
    logits = (h @ w["head"]).astype(jnp.float32)
    picked = jnp.take_along_axis(logits, tokens[:, 1:, None], -1)[..., 0]
    return jnp.mean(jax.nn.logsumexp(logits, -1) - picked, -1)


def scores(model, phi, tokens, options):
    h, w = hidden(model, phi, tokens[:, :-1], False, options)
    return (jnp.mean(h, 1) @ w["score"]).astype(jnp.float32)


def mixed_gradient(loss):
    """The gradient of loss(theta, eta, tokens) by theta, whose derivative is forward over reverse: one jvp of both
    gradients along (cotangent, 0)."""

    @jax.custom_vjp
    def gradient(*args):
        return jax.grad(loss)(*args)

    def backward(args, bar):
        theta, eta, tokens = args
        _, (h, m) = jax.jvp(lambda t: jax.grad(loss, argnums=(0, 1))(t, eta, tokens), (theta,), (bar,))
        return h, m, None

    gradient.defvjp(lambda *args: (gradient(*args), args), backward)
    return gradient


def make_objective(config, theta0, options):
    model, parameter = config["model"], config["meta"]["parameters"][0]
    adam = config["inner"]["optimizer"]
    scorer = parameter.get("model")

    def inner_loss(theta, eta, tokens):
        losses = example_losses(model, theta, tokens, options)
        if scorer is None:
            return jnp.mean(losses)
        return jax.nn.softmax(scores(scorer, eta, tokens, options)) @ losses

    gradient = mixed_gradient(inner_loss) if options.mode == "mixed" else jax.grad(inner_loss)

    def objective(eta, inner, outer):
        theta = eta if parameter["kind"] == "init" else theta0
        rate = eta if parameter["kind"] == "lr" else jax.tree.map(lambda _: adam["lr"], theta)

        def step(carry, tokens):
            theta, m, v, t = carry
            g = checkpoint_name(gradient(theta, eta, tokens), "inner_grads")
            m = jax.tree.map(lambda m, g: B1 * m + (1 - B1) * g, m, g)
            v = jax.tree.map(lambda v, g: B2 * v + (1 - B2) * g * g, v, g)
            move = lambda w, m, v, lr: (
                w - lr * (m / (1 - B1**t)) / (jnp.sqrt(v / (1 - B2**t) + adam["eps_root"]) + EPS)
            )
            return (jax.tree.map(move, theta, m, v, rate), m, v, t + 1), None

        zeros = jax.tree.map(jnp.zeros_like, theta)
        policies = jax.checkpoint_policies
        keep = policies.save_only_these_names("inner_grads") if options.save_inner_grads else policies.nothing_saveable
        (theta, *_), _ = jax.lax.scan(jax.checkpoint(step, policy=keep), (theta, zeros, zeros, 1.0), inner)
        return jnp.mean(example_losses(model, theta, outer, options))

    return objective


def main():
    parser = workload.parser()
    parser.add_argument("--mode", choices=("mixed", "reverse"), default="mixed")
    parser.add_argument("--block-remat", type=int, default=1)
    parser.add_argument("--save-inner-grads", type=int, default=1)
    parser.add_argument("--compile-only", action="store_true")
    options = parser.parse_args()
    options.dtype = jnp.bfloat16 if options.precision == "bf16" else jnp.float32
    work = workload.Workload(options.inputs, options.config)
    tokens = work.inner["tokens"][0], work.outer["tokens"][0]
    eta, theta0, inner, outer = jax.tree.map(jnp.asarray, (work.eta, work.theta0, *tokens))

    begin = time.perf_counter()
    function = jax.jit(jax.value_and_grad(make_objective(work.config, theta0, options)))
    compiled = function.lower(eta, inner, outer).compile()
    compile_s = time.perf_counter() - begin
    memory = compiled.memory_analysis()
    planned = {"temporary_bytes": memory.temp_size_in_bytes, "output_bytes": memory.output_size_in_bytes}
    if options.compile_only:
        print(json.dumps(planned | {"compile_s": compile_s, "version": jax.__version__}))
        return
    run = lambda: jax.block_until_ready(compiled(eta, inner, outer))
    step_s, first_s, (loss, bar) = workload.time_calls(run, options.reps)
    rss_bytes = workload.peak_rss_bytes()
    work.report(
        bar,
        rss_bytes=rss_bytes,
        step_s=step_s,
        first_s=first_s,
        compile_s=compile_s,
        dynamic_bytes=sum(planned.values()),
        outer_loss=float(loss),
        version=jax.__version__,
    )


if __name__ == "__main__":
    main()
