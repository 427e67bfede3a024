"""6. Wall-clock: reverse against mixed on all three tasks, measured in interleaved rounds."""

from paper import lab as lab_
from paper.section import Section, axes, over, ratio, seconds, size


def run(lab, out):
    section = Section(out, "wallclock", "6. Wall-clock of reverse and mixed on the three tasks")
    S, T, B = (64 if lab.quick else 256), 2, 4
    section.text(
        f"3.3M (4 layers, d 256, ffw 1024, 4 x 64, V 256), B {B}, S {S}, T {T}, Adam inside; the scoring network of"
        " loss_weighting has the same shape. Medians of interleaved rounds after a warm-up. Least and greatest show the"
        " spread. FLOPs: those that the plan runs, recomputation included."
    )
    budget = lab_.Budget(45 if lab.quick else 330)
    rows = []
    for i, task in enumerate(lab_.TASKS):
        configs = [lab_.experiment(lab_.SHAPE_3M, T, B, S, v, task, lab_.SHAPE_3M) for v in lab_.VARIANTS.values()]
        share = budget.left() / (len(lab_.TASKS) - i)
        reps = 5 if lab.quick else 15
        found = lab.bench(configs[-1], [("gradient", list(lab_.VARIANTS.values()))], reps, share)
        own = [
            {
                "task": task,
                "variant": variant,
                "planned_bytes": plan["dynamic_bytes"],
                "flop": plan["flop"],
                **lab_.measured(row),
            }
            for variant, plan, row in zip(lab_.VARIANTS, lab.plan(configs), found)
        ]
        for row in own:
            row["time_ratio"] = over(row["median_s"], own[-1]["median_s"])
            row["flop_ratio"] = row["flop"] / own[-1]["flop"]
            row["memory_ratio"] = row["planned_bytes"] / own[-1]["planned_bytes"]
        rows += own
    section.table(
        "wallclock",
        rows,
        {
            "task": ("task", str),
            "variant": ("variant", str),
            "median_s": ("median", seconds),
            "min_s": ("least", seconds),
            "max_s": ("greatest", seconds),
            "reps": ("rounds", str),
            "time_ratio": ("time over mixed", ratio),
            "flop_ratio": ("FLOPs over mixed", ratio),
            "planned_bytes": ("dynamic", size),
            "memory_ratio": ("over mixed", ratio),
            "reason": ("not measured", str),
        },
        "reverse: all rematerialisation, saved gradients; plain reverse: neither; mixed: all three techniques",
    )
    fig, (place,) = axes(7, 2.8)
    done = [row for row in rows if row["median_s"] is not None]
    for j, variant in enumerate(lab_.VARIANTS):
        own = [row for row in done if row["variant"] == variant]
        where = [lab_.TASKS.index(row["task"]) + 0.27 * (j - 1) for row in own]
        medians = [row["median_s"] for row in own]
        spread = [[r["median_s"] - r["min_s"] for r in own], [r["max_s"] - r["median_s"] for r in own]]
        place.bar(where, medians, 0.25, yerr=spread if own else None, label=variant)
    place.set_xticks(range(len(lab_.TASKS)), lab_.TASKS)
    place.set_ylabel("seconds per meta-step")
    place.legend(bbox_to_anchor=(1, 1), loc="upper left")
    section.figure("wallclock", fig, "Seconds per meta-step")
    section.facts |= {
        "time_ratios": {r["task"]: r["time_ratio"] for r in rows if r["variant"] == "reverse"},
        "plain_time_ratios": {r["task"]: r["time_ratio"] for r in rows if r["variant"] == "plain reverse"},
        "flop_ratios": {r["task"]: r["flop_ratio"] for r in rows if r["variant"] == "reverse"},
    }
    return section
