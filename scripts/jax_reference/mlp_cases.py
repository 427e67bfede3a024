"""Configs of MLPs: every inner optimiser, kind of meta-parameter, granularity and loss."""

import numpy as np


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
        "adam init + beta1, denominator stopped": case(
            sinusoid, [16, 16], "mse", 6, {**adam, "stop_denominator": True}, [init, {"kind": "beta1"}], 3,
            activation="tanh",
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
