#!/usr/bin/env python3
"""MAML on sinusoids in JAX, as its users write it: one jitted meta-step, vmap over tasks, lax.scan over inner steps,
tasks drawn inside the step, parameters donated. The same work as scripts/bench_sinusoid.py gives mixflow: 25 tasks of
10 + 10 points, an MLP 1-40-40-1 with ReLU, SGD with rate 0.01 inside, Adam with rate 1e-3 outside, float32.

    scripts/peers/jax_maml.py [--inner-steps T] [--steps N] [--fused K]

--fused K runs K meta-steps per call (another lax.scan), which spares K - 1 dispatches. Prints one JSON object."""

import argparse
import json
import time

import jax
import jax.numpy as jnp

TASKS, SHOTS, QUERIES, WIDTHS = 25, 10, 10, (1, 40, 40, 1)
INNER_LR, META_LR = 0.01, 1e-3


def initial_weights(key):
    weights = []
    for fan_in, fan_out in zip(WIDTHS[:-1], WIDTHS[1:]):
        key, draw = jax.random.split(key)
        weights.append((jax.random.normal(draw, (fan_in, fan_out)) / fan_in**0.5, jnp.zeros(fan_out)))
    return weights


def mse(weights, x, y):
    *hidden, (w, b) = weights
    for v, c in hidden:
        x = jax.nn.relu(x @ v + c)
    return jnp.mean((x @ w + b - y) ** 2)


def draw_tasks(key):
    amplitude, phase, x = jax.random.split(key, 3)
    a = jax.random.uniform(amplitude, (TASKS, 1, 1), minval=0.1, maxval=5.0)
    p = jax.random.uniform(phase, (TASKS, 1, 1), maxval=jnp.pi)
    x = jax.random.uniform(x, (TASKS, SHOTS + QUERIES, 1), minval=-5.0, maxval=5.0)
    y = a * jnp.sin(x - p)
    return (x[:, :SHOTS], y[:, :SHOTS]), (x[:, SHOTS:], y[:, SHOTS:])


def task_loss(weights, support, query, inner_steps):
    def step(theta, _):
        g = jax.grad(mse)(theta, *support)
        return jax.tree.map(lambda w, d: w - INNER_LR * d, theta, g), None

    theta, _ = jax.lax.scan(step, weights, length=inner_steps)
    return mse(theta, *query)


def make_meta_step(inner_steps, fused):
    def objective(weights, support, query):
        losses = jax.vmap(lambda s, q: task_loss(weights, s, q, inner_steps))(support, query)
        return jnp.mean(losses)

    def one(state, _):
        weights, m, v, t, key = state
        key, draw = jax.random.split(key)
        loss, g = jax.value_and_grad(objective)(weights, *draw_tasks(draw))
        t = t + 1
        m = jax.tree.map(lambda a, d: 0.9 * a + 0.1 * d, m, g)
        v = jax.tree.map(lambda a, d: 0.999 * a + 0.001 * d * d, v, g)
        rate = META_LR * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        weights = jax.tree.map(lambda w, a, b: w - rate * a / (jnp.sqrt(b) + 1e-8), weights, m, v)
        return (weights, m, v, t, key), loss

    def several(state):
        state, losses = jax.lax.scan(one, state, length=fused)
        return state, losses[-1]

    return jax.jit((lambda state: one(state, None)) if fused == 1 else several, donate_argnums=0)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--inner-steps", type=int, default=1)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--fused", type=int, default=1)
    arguments = parser.parse_args()

    begin = time.perf_counter()
    weights = initial_weights(jax.random.key(1))
    zeros = lambda: jax.tree.map(jnp.zeros_like, weights)
    state = (weights, zeros(), zeros(), jnp.float32(0), jax.random.key(2))
    meta_step = make_meta_step(arguments.inner_steps, arguments.fused)
    state, loss = meta_step(state)
    jax.block_until_ready(state)
    first_step_s = time.perf_counter() - begin
    for _ in range(max(100 // arguments.fused, 1)):
        state, loss = meta_step(state)
    jax.block_until_ready(state)

    calls = max(arguments.steps // arguments.fused, 1)
    begin = time.perf_counter()
    for _ in range(calls):
        state, loss = meta_step(state)
    jax.block_until_ready(state)
    step_s = (time.perf_counter() - begin) / (calls * arguments.fused)
    print(json.dumps({"step_s": step_s, "first_step_s": first_step_s, "meta_loss": float(loss), "jax": jax.__version__}))


if __name__ == "__main__":
    main()
