"""Configs of transformers on tokens: the three tasks maml (initial weights), per-parameter rates and loss weights, alone
and together, in shapes that tell the sizes apart."""

import numpy as np


def network(d_model, ffw, heads, kv_size, layers, **more):
    sizes = {"d_model": d_model, "ffw": ffw, "heads": heads, "kv_size": kv_size, "layers": layers}
    return {"kind": "transformer", **sizes, **more}


def cases(directory):
    rng = np.random.default_rng(6)
    # Text with some order in it: a walk over few letters.
    walk = 97 + np.cumsum(rng.integers(-2, 3, 4000)) % 12
    (directory / "text.txt").write_bytes(walk.astype(np.uint8).tobytes())

    def random_tokens(sequence, batch, **more):
        return {"kind": "random_tokens", "sequence": sequence, "batch": batch, **more}

    def text(sequence, batch, **more):
        return {"kind": "text", "path": str(directory / "text.txt"), "sequence": sequence, "batch": batch, **more}

    def case(model, data, steps, optimizer, parameters, tasks=1, **inner):
        return {
            "data": data,
            "model": model,
            "inner": {"steps": steps, "optimizer": optimizer, **inner},
            "meta": {"parameters": parameters, "batch": tasks},
        }

    small = network(8, 12, 2, 4, 1, vocab=11)
    one_head = network(10, 14, 1, 6, 3, vocab=13)
    three_heads = network(8, 20, 3, 4, 1, vocab=17)
    deep = network(6, 10, 3, 6, 3, vocab=19)
    bytes_ = network(8, 12, 2, 6, 2, vocab=256)
    scorer, deep_scorer = network(6, 8, 3, 4, 1), network(8, 6, 1, 4, 3)

    init = {"kind": "init"}
    rates = {"kind": "lr", "granularity": "per_parameter"}
    weights = lambda model: {"kind": "loss_weights", "model": model}
    sgd = {"kind": "sgd", "lr": 0.2}
    momentum = {"kind": "momentum", "lr": 0.05, "momentum": 0.8}
    adam = {"kind": "adam", "lr": 0.01}
    blocks = {"attention": 2, "feed_forward": 3, "cross_entropy": 4}
    all_cases = {
        "adam maml, T 1": case(small, random_tokens(6, 3), 1, adam, [init]),
        "adam maml, 3 layers, 1 head, T 4": case(one_head, random_tokens(5, 2), 4, adam, [init]),
        "sgd maml, 3 heads, B 1, T 3": case(three_heads, random_tokens(7, 1), 3, sgd, [init], 2),
        "sgd maml + l2 per tensor, S 1, T 2": case(
            small, random_tokens(1, 3), 2, sgd, [init, {"kind": "l2", "granularity": "per_tensor"}], l2=0.05
        ),
        "sgd per_parameter_lr, 3 layers, T 2": case(deep, random_tokens(5, 3), 2, sgd, [rates]),
        "adam per_parameter_lr, B 1, T 3": case(
            three_heads, random_tokens(8, 1, outer_batch=3), 3, adam, [{**rates, "transform": "exp"}]
        ),
        "adam loss_weighting, T 1": case(small, random_tokens(9, 4), 1, adam, [weights(scorer)]),
        "adam loss_weighting, 3 layers both, T 2": case(
            deep, random_tokens(7, 3), 2, adam, [weights(deep_scorer)], 2
        ),
        "sgd loss_weighting, corrupt text, T 4": case(
            bytes_, text(6, 3, corrupt=0.5), 4, sgd, [weights(scorer)]
        ),
        "momentum all three, T 3": case(
            one_head, random_tokens(5, 3), 3, momentum, [init, rates, weights(scorer)]
        ),
        "adam maml + per_parameter_lr, T 3": case(three_heads, random_tokens(4, 3), 3, adam, [init, rates], 3),
        "adam maml + loss_weighting, text, T 2": case(
            bytes_, text(11, 3, outer_batch=2), 2, adam, [init, weights(deep_scorer)]
        ),
        "adam rates + weights, window 2 of T 4": case(
            small, random_tokens(7, 3), 4, adam, [rates, weights(scorer)], window=2
        ),
        "sgd all three, 3 heads, T 4": case(
            three_heads, random_tokens(6, 3), 4, sgd, [init, rates, weights(deep_scorer)]
        ),
        "adam all three, 3 layers, T 4": case(
            deep, random_tokens(5, 3), 4, adam, [init, rates, weights(scorer)], 2
        ),
    }  # fmt: skip
    # Every second one by blocks of a few rows, which leave a rest.
    for config in list(all_cases.values())[::2]:
        config["gradient"] = {"blocks": blocks}
    return all_cases
