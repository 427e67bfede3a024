"""Hyper-parameters, inner optimisers, the unroll, and the meta-gradient of one meta-batch."""

import jax
import jax.numpy as jnp

from . import mlp, transformer

MODELS = {"mlp": mlp, "transformer": transformer}
TRANSFORMS = {"identity": lambda x: x, "exp": jnp.exp, "softplus": jax.nn.softplus, "sigmoid": jax.nn.sigmoid}


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
    fixed = jax.lax.stop_gradient if optimizer.get("stop_denominator", False) else lambda x: x
    if kind == "rmsprop":
        return theta - lr * g / fixed(jnp.sqrt(v + eps_root) + eps), {"v": v}
    b1 = value("beta1")
    m = b1 * state["m"] + (1 - b1) * g
    # 1 - b^(t+1). Not by `**`, which JAX computes by repeated products: the derivative by b2 cancels, and their
    # rounding would make this side wrong by 3e-9.
    unbias = lambda b: -jnp.expm1((t + 1) * jnp.log(b))
    m_hat, v_hat = m / unbias(b1), v / unbias(b2)
    step = m_hat / fixed(jnp.sqrt(v_hat + eps_root) + eps)
    if kind == "adamw":
        step = step + value("weight_decay") * theta
    return theta - lr * step, {"m": m, "v": v}


def inner_loss(config, theta, eta, t, batch):
    parameters = {p["kind"]: p for p in config["meta"]["parameters"]}
    if "loss_weights" in parameters:
        prefix = "eta.loss_weights."
        phi = {n.removeprefix(prefix): w for n, w in eta.items() if n.startswith(prefix)}
        loss = transformer.weighted_loss(config, theta, parameters["loss_weights"]["model"], phi, batch)
    else:
        loss = MODELS[config["model"]["kind"]].loss(config, theta, batch)
    if "l2" in config["inner"] or "l2" in parameters:
        loss += 0.5 * sum(jnp.sum(hyper(config, eta, "l2", name, t) * w**2) for name, w in theta.items())
    return loss


def unroll(config, eta, theta, inner, outer):
    """One task: (outer loss, (inner losses, theta_T)). `inner` holds fields [T or 1, B, ..], `outer` [B, ..]."""
    steps, window = config["inner"]["steps"], config["inner"].get("window", 0)
    state = {name: {"m": jnp.zeros_like(w), "v": jnp.zeros_like(w)} for name, w in theta.items()}
    losses = []
    for t in range(steps):
        batch = {name: field[t if len(field) > 1 else 0] for name, field in inner.items()}
        constant = window and t < steps - window
        # Before the window nothing depends on eta as far as the derivative is concerned.
        now = jax.lax.stop_gradient(eta) if constant else eta
        if constant:
            theta, state = jax.lax.stop_gradient((theta, state))
        loss, g = jax.value_and_grad(lambda w: inner_loss(config, w, now, t, batch))(theta)
        losses.append(loss)
        stepped = {name: update(config, now, name, t, g[name], w, state[name]) for name, w in theta.items()}
        theta, state = {n: s[0] for n, s in stepped.items()}, {n: s[1] for n, s in stepped.items()}
        if constant:
            theta, state = jax.lax.stop_gradient((theta, state))
    outer_loss = MODELS[config["model"]["kind"]].loss(config, theta, outer)
    return outer_loss, (jnp.stack(losses), theta)


def meta_gradient(config, tensors):
    """meta_grad.*, theta_T.*, inner_loss and outer_loss, from the file's inputs."""
    eta = {n: jnp.asarray(v) for n, v in tensors.items() if n.startswith("eta.")}
    fixed = {n[6:]: jnp.asarray(v) for n, v in tensors.items() if n.startswith("theta.")}
    inner, outer = (
        {n.removeprefix(f"data.{part}."): v for n, v in tensors.items() if n.startswith(f"data.{part}.")}
        for part in ("inner", "outer")
    )
    tasks = len(next(iter(outer.values())))

    def objective(eta):
        theta0 = fixed | {n[9:]: v for n, v in eta.items() if n.startswith("eta.init.")}
        of_task = lambda fields, i: {n: v[i] for n, v in fields.items()}
        results = [unroll(config, eta, theta0, of_task(inner, i), of_task(outer, i)) for i in range(tasks)]
        losses = jnp.stack([loss for loss, _ in results])
        return jnp.mean(losses), (losses, results)

    gradient, (losses, results) = jax.grad(objective, has_aux=True)(eta)
    out = {"meta_grad." + name.removeprefix("eta."): g for name, g in gradient.items()}
    for name in results[0][1][1]:
        out["theta_T." + name] = jnp.stack([theta[name] for _, (_, theta) in results])
    out["inner_loss"] = jnp.stack([inner_losses for _, (inner_losses, _) in results])
    out["outer_loss"] = losses
    return out
