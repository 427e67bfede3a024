"""3. The paper's sweep: 3 tasks x T x B x S x size, planned; the distribution of the memory ratio; a sample measured."""

import itertools
import random
import statistics

from paper import lab as lab_
from paper.section import Section, axes, percent, ratio, size

STEPS, BATCHES, SEQUENCES = (2, 4, 6, 8), (2, 4, 8), (2048, 4096, 8192)
HEADS = {"44M": 8, "90M": 10, "278M": 16, "489M": 10, "1018M": 14}  # of the sizes in the sweep
SCORER = lab_.sized("44M")
SAMPLE, SEED = 16, 1
SMALL = lab_.shape(layers=2, d_model=64, ffw=256, heads=2, kv_size=32, vocab=512)
SMALLER_BY = 16  # the sample's sequences

RATIOS = {
    "ratio_i": "(i) only the mode differs",
    "ratio_ii": "(ii) plain against all three techniques",
    "ratio_iii": "(iii) and computed by blocks",
}
GROUPS = {"task": "task", "T": "T", "B": "B", "S": "S", "size": "size"}


def grid(quick):
    """All 540; the corners of it where time is short."""
    if quick:
        return list(itertools.product(lab_.TASKS, (2, 8), (2, 8), (2048, 8192), ("44M", "489M")))
    return list(itertools.product(lab_.TASKS, STEPS, BATCHES, SEQUENCES, HEADS))


def plan_all(lab, points):
    configs = [
        lab_.experiment(lab_.sized(name), T, B, S, variant, task, SCORER)
        for task, T, B, S, name in points
        for variant in (lab_.MIXED, lab_.PLAIN, lab_.BLOCKED)
    ]
    plans = iter(lab.plan(configs))
    rows = []
    for (task, T, B, S, name), mixed, plain, blocked in zip(points, plans, plans, plans):
        rows.append(
            {
                "task": task,
                "T": T,
                "B": B,
                "S": S,
                "size": name,
                "parameters": mixed["parameters"],
                "static_bytes": mixed["static_bytes"],
                "plain_reverse_bytes": plain["dynamic_bytes"],
                "reverse_bytes": mixed["reverse_dynamic_bytes"],
                "mixed_bytes": mixed["dynamic_bytes"],
                "blocked_bytes": blocked["dynamic_bytes"],
                "carried_bytes": lab_.carried_bytes(mixed),
                "scores_bytes": 4 * B * HEADS[name] * S * S,  # of one block of the inner model
                "ratio_i": mixed["reverse_dynamic_bytes"] / mixed["dynamic_bytes"],
                "ratio_ii": plain["dynamic_bytes"] / mixed["dynamic_bytes"],
                "ratio_iii": plain["dynamic_bytes"] / blocked["dynamic_bytes"],
                "plain_reverse_flop": plain["flop"],
                "mixed_flop": mixed["flop"],
                "blocked_flop": blocked["flop"],
            }
        )
    return rows


def distribution(rows, key):
    values = [row[key] for row in rows]
    return {
        "configs": len(values),
        "min": min(values),
        "median": statistics.median(values),
        "max": max(values),
        "share_4x": sum(v >= 4 for v in values) / len(values),
        "share_10x": sum(v >= 10 for v in values) / len(values),
        "carried_share": statistics.median(
            row["carried_bytes"] / row["blocked_bytes" if key == "ratio_iii" else "mixed_bytes"] for row in rows
        ),
    }


def distributions(rows):
    """One row for all configs and one for each value of each axis, under each ratio."""
    table = []
    for key, name in RATIOS.items():
        table.append({"ratio": name, "group": "all", **distribution(rows, key)})
        for axis in GROUPS:
            for value in dict.fromkeys(row[axis] for row in rows):
                own = [row for row in rows if row[axis] == value]
                table.append({"ratio": name, "group": f"{axis} {value}", **distribution(own, key)})
    return table


def histogram(section, rows):
    fig, places = axes(11, 3, 3)
    for place, (key, name) in zip(places, RATIOS.items()):
        for T in sorted({row["T"] for row in rows}):
            values = sorted(row[key] for row in rows if row["T"] == T)
            place.plot(values, [(i + 1) / len(values) for i in range(len(values))], label=f"T {T}")
        place.axvline(4, color="gray", linestyle=":")
        place.axvline(10, color="gray", linestyle=":")
        place.set(xscale="log", xlabel="dynamic memory, baseline over mixed", ylabel="share of configs below")
        place.set_xticks([1, 2, 4, 10, 40], ["1", "2", "4", "10", "40"])
        place.set_xticks([], minor=True)
        place.set_title(name, fontsize=8)
        place.legend()
    section.figure("sweep", fig, "Distribution of the ratio of dynamic memory")


def measure_sample(lab, points):
    """The four variants of some points, scaled down and run: bytes planned beforehand against bytes measured."""
    chosen = random.Random(SEED).sample(points, 4 if lab.quick else SAMPLE)
    budget = lab_.Budget(30 if lab.quick else 240)
    variants = lab_.VARIANTS | {"mixed by blocks": lab_.BLOCKED}
    plans = iter(
        lab.plan(
            [
                lab_.experiment(SMALL, T, B, S // SMALLER_BY, variant, task, SMALL)
                for task, T, B, S, _ in chosen
                for variant in variants.values()
            ]
        )
    )
    rows = []
    for i, (task, T, B, S, _) in enumerate(chosen):
        config = lab_.experiment(SMALL, T, B, S // SMALLER_BY, lab_.MIXED, task, SMALL)
        share = max(budget.left() / (len(chosen) - i), min(budget.left(), 10))
        found = lab.bench(config, [("gradient", list(variants.values()))], 1, share)
        for variant, row in zip(variants, found):
            planned = next(plans)["dynamic_bytes"]
            done = lab_.measured(row)
            rows.append({"task": task, "T": T, "B": B, "S": S // SMALLER_BY, "variant": variant})
            rows[-1] |= {"planned": planned, "measured": done["measured_bytes"], "reason": done["reason"]}
            if done["measured_bytes"] is not None:
                rows[-1]["difference"] = done["measured_bytes"] - planned
    return rows


def run(lab, out):
    section = Section(out, "sweep", "3. Sweep: the distribution of the memory ratio")
    points = grid(lab.quick)
    rows = plan_all(lab, points)
    axes_text = "its corners only (--quick)" if lab.quick else "all of it"
    section.text(
        f"maml, per_parameter_lr and loss_weighting; T {STEPS}, B {BATCHES}, S {SEQUENCES}, sizes {', '.join(HEADS)};"
        f" V 32000, Adam inside: 540 configs, {axes_text}, planned. The scoring network of loss_weighting is a"
        " transformer of the 44M row's shape (8 layers, d 512, ffw 2048, 8 x 64), not causal, for every size of the inner model."
    )
    section.text(
        "(i): all rematerialisation and saved gradients on both sides, only the mode differs. (ii): plain reverse (no"
        " block rematerialisation, no saved gradients) against mixed with both; S x S attention on both sides, per-step"
        " rematerialisation on both sides. (iii): the baseline of (ii) against mixed mode with all techniques and attention,"
        " feed-forward layers and the output layer computed by blocks: no S x S scores, no logits of all tokens."
    )
    table = distributions(rows)
    ordered = sorted(rows, key=lambda row: row["ratio_ii"])
    columns = {key: (key, str) for key in GROUPS} | {"mixed_bytes": ("mixed, dynamic", size)}
    section.table(
        "sweep",
        rows,
        columns | {key: (name, ratio) for key, name in RATIOS.items()},
        "The configs with the least and the greatest ratios (ii); all of them are in the file",
        keep=ordered[:3] + ordered[-3:],
    )
    section.table(
        "sweep_distribution",
        table,
        {
            "ratio": ("ratio", str),
            "group": ("configs", str),
            "configs": ("number", str),
            "min": ("least", ratio),
            "median": ("median", ratio),
            "max": ("greatest", ratio),
            "share_4x": ("at least 4x", percent),
            "share_10x": ("at least 10x", percent),
            "carried_share": ("carried states in mixed, median", percent),
        },
        "Distribution of the ratio of dynamic memory, and what drives it: the share of mixed mode's dynamic memory that"
        " the states carried from step to step take",
    )
    histogram(section, rows)
    sample = measure_sample(lab, points)
    section.table(
        "sweep_measured",
        sample,
        {
            "task": ("task", str),
            "T": ("T", str),
            "B": ("B", str),
            "S": ("S", str),
            "variant": ("variant", str),
            "planned": ("planned bytes", str),
            "measured": ("measured bytes", str),
            "difference": ("difference", str),
            "reason": ("not measured", str),
        },
        f"A random {len(sample) // 4} of the configs (seed {SEED}) scaled down and run: same task, T and B,"
        f" S / {SMALLER_BY}, 2 layers, d 64, ffw 256, 2 x 32, V 512, the scoring network likewise",
    )
    differences = [row["difference"] for row in sample if "difference" in row]
    section.facts |= {
        "rows": rows,
        "all": {key: distribution(rows, key) for key in RATIOS},
        "measured": len(differences),
        "wrong": sum(d != 0 for d in differences),
    }
    return section
