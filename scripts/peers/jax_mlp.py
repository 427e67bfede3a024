#!/usr/bin/env python3
"""One meta-step of few-shot classification with an MLP in JAX, as its users write it: jitted, vmap over tasks or
lax.map, the inner steps written out, the state donated. SGD inside, initial weights learned by Adam outside; reverse over
reverse, or mixed mode as a custom derivative of the inner gradient.

    scripts/peers/jax_mlp.py INPUTS CONFIG [--mode mixed|reverse] [--tasks vmap|map] [--reps N] [--precision bf16]

All meta-steps are on the one batch of INPUTS, which is in place before the clock starts. Prints one JSON object."""

import time

import jax
import jax.numpy as jnp
import workload

EPS, B1, B2 = 1e-8, 0.9, 0.999


def cross_entropy(theta, x, y, dtype):
    h = x.astype(dtype)
    layers = len(theta) // 2
    for i in range(layers):
        h = h @ theta[f"layers.{i}.weight"].astype(dtype) + theta[f"layers.{i}.bias"].astype(dtype)
        if i + 1 < layers:
            h = jax.nn.relu(h)
    h = h.astype(jnp.float32)
    return jnp.mean(jax.nn.logsumexp(h, -1) - jnp.take_along_axis(h, y[:, None], -1)[:, 0])


def mixed_gradient(loss):
    """The gradient of loss(theta, x, y) by theta, whose derivative is forward over reverse: one jvp of the gradient."""

    @jax.custom_vjp
    def gradient(*args):
        return jax.grad(loss)(*args)

    def backward(args, bar):
        theta, x, y = args
        _, h = jax.jvp(lambda t: jax.grad(loss)(t, x, y), (theta,), (bar,))
        return h, None, None

    gradient.defvjp(lambda *args: (gradient(*args), args), backward)
    return gradient


def make_meta_step(config, options):
    loss = lambda theta, x, y: cross_entropy(theta, x, y, options.dtype)
    gradient = mixed_gradient(loss) if options.mode == "mixed" else jax.grad(loss)
    inner_lr, meta_lr = config["inner"]["optimizer"]["lr"], config["meta"]["optimizer"]["lr"]
    T = config["inner"]["steps"]

    def task_loss(theta, support, query):
        for _ in range(T):
            g = gradient(theta, support["x"][0], support["y"][0])
            theta = jax.tree.map(lambda w, d: w - inner_lr * d, theta, g)
        return loss(theta, query["x"], query["y"])

    def objective(eta, inner, outer):
        if options.tasks == "vmap":
            losses = jax.vmap(task_loss, in_axes=(None, 0, 0))(eta, inner, outer)
        else:
            losses = jax.lax.map(lambda data: task_loss(eta, *data), (inner, outer))
        return jnp.mean(losses)

    def meta_step(state, inner, outer):
        eta, m, v, t = state
        loss, g = jax.value_and_grad(objective)(eta, inner, outer)
        t = t + 1
        m = jax.tree.map(lambda a, d: B1 * a + (1 - B1) * d, m, g)
        v = jax.tree.map(lambda a, d: B2 * a + (1 - B2) * d * d, v, g)
        move = lambda w, a, b: w - meta_lr * (a / (1 - B1**t)) / (jnp.sqrt(b / (1 - B2**t)) + EPS)
        return (jax.tree.map(move, eta, m, v), m, v, t), loss

    return jax.jit(jax.grad(objective)), jax.jit(meta_step, donate_argnums=0)


def main():
    parser = workload.parser()
    parser.add_argument("--mode", choices=("mixed", "reverse"), default="reverse")
    parser.add_argument("--tasks", choices=("vmap", "map"), default="vmap")
    options = parser.parse_args()
    options.dtype = jnp.bfloat16 if options.precision == "bf16" else jnp.float32
    work = workload.Workload(options.inputs, options.config)
    eta, inner, outer = jax.tree.map(jnp.asarray, (work.eta, work.inner, work.outer))
    gradient, meta_step = make_meta_step(work.config, options)

    zeros = lambda: jax.tree.map(jnp.zeros_like, eta)
    state = (jax.tree.map(jnp.copy, eta), zeros(), zeros(), jnp.float32(0))
    begin = time.perf_counter()
    compiled = meta_step.lower(state, inner, outer).compile()
    compile_s = time.perf_counter() - begin

    def run():
        nonlocal state
        state, loss = jax.block_until_ready(compiled(state, inner, outer))
        return loss

    step_s, first_s, _ = workload.time_calls(run, options.reps)
    memory = compiled.memory_analysis()
    rss_bytes = workload.peak_rss_bytes()
    work.report(
        gradient(eta, inner, outer),
        rss_bytes=rss_bytes,
        step_s=step_s,
        first_s=first_s,
        compile_s=compile_s,
        dynamic_bytes=memory.temp_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes,
        version=jax.__version__,
    )


if __name__ == "__main__":
    main()
