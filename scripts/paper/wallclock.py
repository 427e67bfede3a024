"""6. Wall-clock: reverse against mixed on all three tasks, measured in interleaved rounds."""

from paper import lab as lab_
from paper.section import Section, axes, over

VALUES = "step_s,flop,dynamic_bytes"
PLANNED = "flop,dynamic_bytes"


def of_mixed(rows, number):
    """{variant: its number over that of mixed}, None where either is not known."""
    return {variant: over(number(row), number(rows["mixed"])) for variant, row in rows.items()}


def run(lab, out):
    section = Section(out, "wallclock", "6. Wall-clock of reverse and mixed on the three tasks")
    S, T, B = (64 if lab.quick else 256), 2, 4
    section.text(
        f"3.3M (4 layers, d 256, ffw 1024, 4 x 64, V 256), B {B}, S {S}, T {T}, Adam inside; the scoring network of"
        " loss_weighting has the same shape. Medians of interleaved rounds after a warm-up, least and greatest in the"
        " figure. FLOPs: those that the plan runs, recomputation included. Ratios are to mixed mode with both"
        " rematerialisations."
    )
    budget = lab_.Budget(45 if lab.quick else 330)
    tasks = {}
    for i, task in enumerate(lab_.TASKS):
        config = lab_.experiment(lab_.SHAPE_3M, T, B, S, lab_.MIXED, task, lab_.SHAPE_3M)
        share = budget.left() / (len(lab_.TASKS) - i)
        variants = [("gradient", list(lab_.VARIANTS.values()))]
        found = lab.bench(config, variants, 5 if lab.quick else 15, share, f"wallclock_{task}")
        tasks[task] = dict(zip(lab_.VARIANTS, found))
    rounds = ", ".join(f"{task} {lab_.rounds_text(rows.values())}" for task, rows in tasks.items())
    section.text(f"Rounds measured: {rounds}.")
    measured = any(row["measured"] for rows in tasks.values() for row in rows.values())
    section.report(
        lab,
        "wallclock",
        lab.files("wallclock_"),
        "The task's config, the mode, and both rematerialisations (block, saved gradients) or neither",
        "config,gradient.mode,gradient.remat.block",
        VALUES if measured else PLANNED,
        baseline=("gradient.mode=mixed", "gradient.remat.block=true"),
    )
    fig, (place,) = axes(7, 2.8)
    for j, variant in enumerate(lab_.VARIANTS):
        own = {i: rows[variant]["step_s"] for i, rows in enumerate(tasks.values()) if rows[variant]["measured"]}
        medians = [step["median"] for step in own.values()]
        below = [step["median"] - step["min"] for step in own.values()]
        above = [step["max"] - step["median"] for step in own.values()]
        place.bar([i + 0.27 * (j - 1) for i in own], medians, 0.25, yerr=[below, above] if own else None, label=variant)
    place.set_xticks(range(len(lab_.TASKS)), lab_.TASKS)
    place.set_ylabel("seconds per meta-step")
    place.legend(bbox_to_anchor=(1, 1), loc="upper left")
    section.figure("wallclock", fig, "Seconds per meta-step")
    times = {task: of_mixed(rows, lab_.median_s) for task, rows in tasks.items()}
    section.facts |= {
        "time_ratios": {task: ratios["reverse"] for task, ratios in times.items()},
        "plain_time_ratios": {task: ratios["plain reverse"] for task, ratios in times.items()},
        "flop_ratios": {task: of_mixed(rows, lambda row: row["flop"])["reverse"] for task, rows in tasks.items()},
    }
    return section
