"""The MLP and its losses. A batch is {"x": [B, ..], "y": [B] or [B, outputs]}."""

import jax
import jax.numpy as jnp

ACTIVATIONS = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "gelu": lambda x: jax.nn.gelu(x, approximate=True),
    "sigmoid": jax.nn.sigmoid,
    "silu": jax.nn.silu,
}


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


def loss(config, theta, batch):
    x, y = batch["x"], batch["y"]
    z = forward(config["model"], theta, x)
    kind = config["inner"]["loss"]
    if kind == "cross_entropy":
        return -jnp.mean(jax.nn.log_softmax(z)[jnp.arange(len(y)), y])
    y = jnp.asarray(y, z.dtype).reshape(z.shape)
    if kind == "mse":
        return jnp.mean((z - y) ** 2)
    return -jnp.mean(y * jax.nn.log_sigmoid(z) + (1 - y) * jax.nn.log_sigmoid(-z))
