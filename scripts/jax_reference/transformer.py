"""The transformer on tokens and the network that scores examples. A batch is {"tokens": [B, S+1]}."""

import jax
import jax.numpy as jnp


def rms_norm(h, gain):
    return h / jnp.sqrt(jnp.mean(h**2, axis=-1, keepdims=True) + 1e-6) * gain


def rotate(x):
    """Rotary positions on heads x [B, S, H, K]: the pair (j, j + K/2) turns by position * 10000^(-j / (K/2))."""
    half = x.shape[-1] // 2
    angle = jnp.arange(x.shape[1])[:, None] * 10000.0 ** (-jnp.arange(half) / half)
    cos, sin = jnp.cos(angle)[:, None, :], jnp.sin(angle)[:, None, :]
    first, second = x[..., :half], x[..., half:]
    return jnp.concatenate([first * cos - second * sin, first * sin + second * cos], axis=-1)


def attention(model, a, wq, wk, wv, wo, causal):
    B, S, _ = a.shape
    H, K = model["heads"], model["kv_size"]
    q, k = (rotate((a @ w).reshape(B, S, H, K)) for w in (wq, wk))
    v = (a @ wv).reshape(B, S, H, K)
    scores = jnp.einsum("bqhk,bshk->bhqs", q, k) / jnp.sqrt(K)
    if causal:
        scores = jnp.where(jnp.tril(jnp.ones((S, S), bool)), scores, -jnp.inf)
    heads = jnp.einsum("bhqs,bshk->bqhk", jax.nn.softmax(scores, axis=-1), v)
    return heads.reshape(B, S, H * K) @ wo


def hidden(model, w, tokens, causal):
    """tokens [B, S] -> the last hidden state, normalised, [B, S, d]."""
    h = w["embed"][tokens]
    for i in range(model["layers"]):
        block = {n.removeprefix("blocks."): x[i] for n, x in w.items() if n.startswith("blocks.")}
        a = rms_norm(h, block["norm1"])
        h = h + attention(model, a, block["wq"], block["wk"], block["wv"], block["wo"], causal)
        m = rms_norm(h, block["norm2"])
        h = h + jax.nn.gelu(m @ block["w1"], approximate=True) @ block["w2"]
    return rms_norm(h, w["norm"])


def example_losses(config, theta, batch):
    """Mean next-token cross-entropy of each example, [B]."""
    read, next_token = batch["tokens"][:, :-1], batch["tokens"][:, 1:]
    logits = hidden(config["model"], theta, read, causal=True) @ theta["head"]
    log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), next_token[..., None], axis=-1)
    return -jnp.mean(log_p[..., 0], axis=1)


def loss(config, theta, batch):
    return jnp.mean(example_losses(config, theta, batch))


def weighted_loss(config, theta, model, phi, batch):
    """sum_i softmax_i(score) l_i, the scores from the network `model` with the weights phi (Calian et al. 2025)."""
    h = hidden(model, phi, batch["tokens"][:, :-1], causal=False)
    return jax.nn.softmax(jnp.mean(h, axis=1) @ phi["score"]) @ example_losses(config, theta, batch)
