#!/usr/bin/env python3
"""Compares `mixflow grad` in float64 with JAX: jax.grad through a plain Python loop over the inner steps, no custom
rules, written from the definitions of the problem and not from mixflow's sources.

    scripts/compare_jax.py [--binary FILE] [--mode reverse] [--only NAME] [--tolerance 1e-9]

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
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_platforms", "cpu")

TYPES = {"F64": np.float64, "F32": np.float32, "I32": np.int32}


# --- the problem, in JAX ---------------------------------------------------------------------------------------
ACTIVATIONS = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "gelu": lambda x: jax.nn.gelu(x, approximate=True),
    "sigmoid": jax.nn.sigmoid,
    "silu": jax.nn.silu,
}
TRANSFORMS = {"identity": lambda x: x, "exp": jnp.exp, "softplus": jax.nn.softplus, "sigmoid": jax.nn.sigmoid}


def forward(model, theta, x):
    h = x.reshape(x.shape[0], -1)
    layers = len(model.get("hidden", [])) + 1
    for i in range(layers):
        h = h @ theta[f"layers.{i}.weight"]
        if model.get("bias", True):
            h = h + theta[f"layers.{i}.bias"]
        if i + 1 < layers:
            h = ACTIVATIONS[model.get("activation", "relu")](h)
    return h


def data_loss(config, theta, x, y):
    z = forward(config["model"], theta, x)
    kind = config["inner"]["loss"]
    if kind == "cross_entropy":
        return -jnp.mean(jax.nn.log_softmax(z)[jnp.arange(len(y)), y])
    y = jnp.asarray(y, z.dtype).reshape(z.shape)
    if kind == "mse":
        return jnp.mean((z - y) ** 2)
    return -jnp.mean(y * jax.nn.log_sigmoid(z) + (1 - y) * jax.nn.log_sigmoid(-z))


def hyper(config, eta, kind, name, t):
    """The value of a hyper-parameter for the weight tensor `name` at step t, from eta where it is learned."""
    defaults = {"lr": 0.01, "momentum": 0.9, "beta1": 0.9, "beta2": 0.999, "weight_decay": 0.0, "l2": 0.0}
    optimizer = config["inner"]["optimizer"]
    if optimizer["kind"] == "rmsprop":
        defaults["beta2"] = 0.9
    for entry in config["meta"]["parameters"]:
        if entry["kind"] != kind:
            continue
        granularity = entry.get("granularity", "scalar")
        own = granularity in ("per_tensor", "per_parameter")
        value = TRANSFORMS[entry.get("transform", "identity")](eta[f"eta.{kind}.{name}" if own else f"eta.{kind}"])
        return value[t] if granularity == "per_step" else value
    where = config["inner"] if kind == "l2" else optimizer
    return where.get(kind, defaults[kind])


def update(config, eta, name, t, g, theta, state):
    """One step of the inner optimiser for one weight tensor; t counts from 0."""
    value = lambda kind: hyper(config, eta, kind, name, t)
    optimizer = config["inner"]["optimizer"]
    kind, eps, eps_root = optimizer["kind"], optimizer.get("eps", 1e-8), optimizer.get("eps_root", 1e-12)
    lr = value("lr")
    if kind == "sgd":
        return theta - lr * g, state
    if kind in ("momentum", "nesterov"):
        mu = value("momentum")
        v = mu * state["v"] + g
        return theta - lr * (g + mu * v if kind == "nesterov" else v), {"v": v}
    b2 = value("beta2")
    v = b2 * state["v"] + (1 - b2) * g**2
    if kind == "rmsprop":
        return theta - lr * g / (jnp.sqrt(v + eps_root) + eps), {"v": v}
    b1 = value("beta1")
    m = b1 * state["m"] + (1 - b1) * g
    # 1 - b^(t+1). Not by `**`, which JAX computes by repeated products: the derivative by b2 cancels, and their
    # rounding would make this side wrong by 3e-9.
    unbias = lambda b: -jnp.expm1((t + 1) * jnp.log(b))
    m_hat, v_hat = m / unbias(b1), v / unbias(b2)
    step = m_hat / (jnp.sqrt(v_hat + eps_root) + eps)
    if kind == "adamw":
        step = step + value("weight_decay") * theta
    return theta - lr * step, {"m": m, "v": v}


def has_l2(config):
    return "l2" in config["inner"] or any(p["kind"] == "l2" for p in config["meta"]["parameters"])


def unroll(config, eta, theta, inner, outer):
    """One task: (outer loss, (inner losses, theta_T)). `inner` holds [T or 1, B, ..] arrays, `outer` [B, ..]."""

    def inner_loss(theta, eta, t, x, y):
        loss = data_loss(config, theta, x, y)
        if has_l2(config):
            loss += 0.5 * sum(jnp.sum(hyper(config, eta, "l2", name, t) * w**2) for name, w in theta.items())
        return loss

    steps, window = config["inner"]["steps"], config["inner"].get("window", 0)
    state = {name: {"m": jnp.zeros_like(w), "v": jnp.zeros_like(w)} for name, w in theta.items()}
    losses = []
    for t in range(steps):
        x, y = (field[t if len(field) > 1 else 0] for field in inner)
        constant = window and t < steps - window
        # Before the window nothing depends on eta as far as the derivative is concerned.
        now = jax.lax.stop_gradient(eta) if constant else eta
        if constant:
            theta, state = jax.lax.stop_gradient((theta, state))
        loss, g = jax.value_and_grad(inner_loss)(theta, now, t, x, y)
        losses.append(loss)
        stepped = {name: update(config, now, name, t, g[name], w, state[name]) for name, w in theta.items()}
        theta, state = {n: s[0] for n, s in stepped.items()}, {n: s[1] for n, s in stepped.items()}
        if constant:
            theta, state = jax.lax.stop_gradient((theta, state))
    return data_loss(config, theta, *outer), (jnp.stack(losses), theta)


def meta_gradient(config, tensors):
    """meta_grad.*, theta_T.*, inner_loss and outer_loss, from the file's inputs."""
    eta = {n: jnp.asarray(v) for n, v in tensors.items() if n.startswith("eta.")}
    fixed = {n[6:]: jnp.asarray(v) for n, v in tensors.items() if n.startswith("theta.")}
    inner = [tensors[f"data.inner.{field}"] for field in "xy"]
    outer = [tensors[f"data.outer.{field}"] for field in "xy"]
    tasks = outer[0].shape[0]

    def objective(eta):
        theta0 = fixed | {n[9:]: v for n, v in eta.items() if n.startswith("eta.init.")}
        results = [unroll(config, eta, theta0, [f[i] for f in inner], [f[i] for f in outer]) for i in range(tasks)]
        losses = jnp.stack([loss for loss, _ in results])
        return jnp.mean(losses), (losses, results)

    gradient, (losses, results) = jax.grad(objective, has_aux=True)(eta)
    out = {"meta_grad." + name.removeprefix("eta."): g for name, g in gradient.items()}
    for name in results[0][1][1]:
        out["theta_T." + name] = jnp.stack([theta[name] for _, (_, theta) in results])
    out["inner_loss"] = jnp.stack([inner_losses for _, (inner_losses, _) in results])
    out["outer_loss"] = losses
    return out


# --- the cases -------------------------------------------------------------------------------------------------
def tabular(directory, name, rng, rows, features, classes):
    """A generated data set: classes > 0 for labels, 0 for regression on two targets."""
    x = rng.standard_normal((rows, features))
    w = rng.standard_normal((features, max(classes, 2)))
    z = np.tanh(x @ w) + 0.3 * rng.standard_normal((rows, w.shape[1]))
    np.save(directory / f"{name}_x.npy", x)
    np.save(directory / f"{name}_y.npy", z.argmax(1).astype(np.int32) if classes else z)
    return {"x": str(directory / f"{name}_x.npy"), "y": str(directory / f"{name}_y.npy")}


def cases(directory):
    rng = np.random.default_rng(5)
    ten = tabular(directory, "ten", rng, 240, 6, 10)
    two = tabular(directory, "two", rng, 90, 5, 2)
    real = tabular(directory, "real", rng, 80, 4, 0)
    sinusoid = {"kind": "sinusoid", "shots": 7, "queries": 9}
    labels = {"kind": "tabular", "batch": 12, "outer_batch": 20, **ten}
    classes = {"train_classes": [0, 1, 2, 3, 4], "validation_classes": [5, 6, 7, 8, 9]}
    episodes = {"kind": "episodes", "ways": 3, "shots": 2, "queries": 4, **classes, **ten}
    init, lr = {"kind": "init"}, {"kind": "lr"}

    def case(data, hidden, loss, steps, optimizer, parameters, batch=1, inner=None, **model):
        return {
            "data": data,
            "model": {"kind": "mlp", "hidden": hidden, **model},
            "inner": {"loss": loss, "steps": steps, "optimizer": optimizer, **(inner or {})},
            "meta": {"parameters": parameters, "batch": batch},
        }

    sgd = {"kind": "sgd", "lr": 0.02}
    momentum = {"kind": "momentum", "lr": 0.01, "momentum": 0.8}
    nesterov = {"kind": "nesterov", "lr": 0.01, "momentum": 0.7}
    adam = {"kind": "adam", "lr": 0.01}
    adamw = {"kind": "adamw", "lr": 0.01, "weight_decay": 0.05, "beta1": 0.8, "beta2": 0.95}
    rmsprop = {"kind": "rmsprop", "lr": 0.01}
    per = lambda kind, granularity, **more: {"kind": kind, "granularity": granularity, **more}
    return {
        "sgd init, sinusoid, T 1": case(sinusoid, [40, 40], "mse", 1, sgd, [init], 5),
        "sgd init, sinusoid, T 5": case(sinusoid, [40, 40], "mse", 5, sgd, [init], 5, activation="tanh"),
        "sgd init + lr per parameter (Meta-SGD)": case(
            sinusoid, [16, 16], "mse", 3, sgd, [init, per("lr", "per_parameter")], 4
        ),
        "sgd l2 per parameter, linear, window": case(
            {"kind": "tabular", **two}, [], "bce", 10, {"kind": "sgd", "lr": 0.1},
            [per("l2", "per_parameter", bounds=[1e-8, 10])], inner={"l2": 0.5, "window": 4}, bias=False,
        ),
        "sgd lr per step, exp, episodes": case(
            episodes, [12], "cross_entropy", 6, sgd, [init, per("lr", "per_step", transform="exp")], 3,
            activation="silu",
        ),
        "momentum init, sinusoid, T 10": case(
            sinusoid, [10, 10, 10], "mse", 10, momentum, [init], 2, activation="sigmoid"
        ),
        "momentum lr per tensor + momentum, softplus": case(
            labels, [16], "cross_entropy", 8, momentum,
            [per("lr", "per_tensor", transform="softplus"), {"kind": "momentum", "transform": "sigmoid"}],
            activation="gelu",
        ),
        "nesterov init + lr, episodes": case(
            episodes, [20], "cross_entropy", 4, nesterov, [init, lr], 5, activation="relu"
        ),
        "adam init, sinusoid, T 10": case(sinusoid, [16, 16], "mse", 10, adam, [init], 3, activation="tanh"),
        "adam lr per parameter, tabular": case(
            labels, [64], "cross_entropy", 5, adam, [per("lr", "per_parameter", transform="exp")], 2
        ),
        "adam l2 per tensor + betas": case(
            labels, [16, 8], "cross_entropy", 7, adam,
            [per("l2", "per_tensor", transform="exp"), {"kind": "beta1", "transform": "sigmoid"},
             {"kind": "beta2", "transform": "sigmoid"}],
            inner={"l2": 0.01}, activation="tanh",
        ),
        "adam beta1 per parameter, lr per step": case(
            sinusoid, [12], "mse", 5, adam, [per("beta1", "per_parameter"), per("lr", "per_step")], 2,
            activation="gelu",
        ),
        "adamw init + weight decay, regression": case(
            {"kind": "tabular", "target": "regression", **real}, [10, 10], "mse", 6, adamw,
            [init, {"kind": "weight_decay"}], activation="silu",
        ),
        "rmsprop init, sinusoid, T 4": case(sinusoid, [16], "mse", 4, rmsprop, [init], 5, activation="tanh"),
        "rmsprop l2 per parameter + beta2, bce": case(
            {"kind": "tabular", "batch": 15, **two}, [8], "bce", 6, rmsprop,
            [per("l2", "per_parameter"), {"kind": "beta2"}], 2, inner={"l2": 0.1}, activation="tanh",
        ),
    }  # fmt: skip


# --- comparison ------------------------------------------------------------------------------------------------
def relative_error(a, b):
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        return float("inf")
    scale = np.linalg.norm(b)
    return np.linalg.norm(a - b) / scale if scale > 0 else np.linalg.norm(a)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    tools.add_binary(parser)
    parser.add_argument("--mode", default="mixed", help="gradient.mode (default: mixed)")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--tolerance", type=float, default=1e-9)
    arguments = parser.parse_args()
    binary = tools.check_binary(arguments.binary)

    failed = 0
    print(f"{'case':46} {'T':>3} {'N':>2} {'tensors':>7} {'worst meta_grad':>16} {'theta_T, losses':>16}")
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        for title, config in cases(directory).items():
            if arguments.only not in title:
                continue
            start = time.monotonic()
            tools.write_config(directory / "case.yaml", config)
            out = directory / "case.safetensors"
            tools.mixflow(binary, "grad", directory / "case.yaml", "--out", out, "-s", "precision=f64",
                          "-s", f"gradient.mode={arguments.mode}")  # fmt: skip
            _, stored = tools.read_safetensors(out)
            tensors = {n: np.frombuffer(data, TYPES[t]).reshape(s) for n, (t, s, data) in stored.items()}
            expected = meta_gradient(config, tensors)
            errors = {n: relative_error(tensors[n], v) for n, v in expected.items() if n in tensors}
            absent = [n for n in expected if n not in tensors]
            gradients = {n: e for n, e in errors.items() if n.startswith("meta_grad.")}
            worst = max(gradients, key=gradients.get)
            others = max(e for n, e in errors.items() if n not in gradients)
            good = not absent and max(gradients[worst], others) <= arguments.tolerance
            failed += not good
            print(
                f"{title:46} {config['inner']['steps']:3} {config['meta']['batch']:2} {len(gradients):7}"
                f" {gradients[worst]:16.1e} {others:16.1e}  {time.monotonic() - start:5.1f} s"
                + ("" if good else f"  FAILED: {', '.join(absent) + ' missing' if absent else worst}"),
                flush=True,
            )
    print(f"{'all agree' if not failed else f'{failed} case(s) differ'}; tolerance {arguments.tolerance:g}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
