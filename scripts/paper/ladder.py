"""4. The ladder of sizes, 44M to 16B: planned at one shape, run at a smaller one as far as memory and time allow."""

from paper import lab as lab_
from paper.section import Section, axes, less, ratio, seconds, size

MILLIONS = (44, 57, 74, 90, 106, 117, 140, 163, 175, 196, 217, 251, 278, 306, 425, 489, 509, 552, 587, 632, 664, 724, 816,
            893, 1018, 1143, 1266, 1424, 1429, 1593, 1609, 1731, 1794, 2007, 2283, 2298, 2639, 2980, 3530, 3802, 4084, 4516,
            6796, 9293, 11452, 12295, 12569, 13735, 14940, 16183)  # fmt: skip
SHOWN = (44, 90, 278, 489, 1018, 2007, 4084, 9293, 16183)
T, B, S = 2, 4, 2048
RUN = (44, 90, 278)


def plan_ladder(lab):
    variants = [*lab_.VARIANTS.values(), lab_.BLOCKED]
    plans = iter(
        lab.plan([lab_.experiment(lab_.sized(f"{m}M"), T, B, S, variant) for m in MILLIONS for variant in variants])
    )
    rows = []
    for millions, plain, reverse, mixed, blocked in zip(MILLIONS, plans, plans, plans, plans):
        rows.append(
            {
                "size": millions,
                "parameters": mixed["parameters"],
                "static_bytes": mixed["static_bytes"],
                "plain_reverse_bytes": plain["dynamic_bytes"],
                "reverse_bytes": reverse["dynamic_bytes"],
                "mixed_bytes": mixed["dynamic_bytes"],
                "blocked_bytes": blocked["dynamic_bytes"],
                "ratio_i": reverse["dynamic_bytes"] / mixed["dynamic_bytes"],
                "ratio_ii": plain["dynamic_bytes"] / mixed["dynamic_bytes"],
                "ratio_iii": plain["dynamic_bytes"] / blocked["dynamic_bytes"],
                "mixed_flop": mixed["flop"],
                "flop_ratio_i": reverse["flop"] / mixed["flop"],
                "predicted_s": mixed["predicted_s"],
            }
        )
        rows[-1]["less_ii"] = rows[-1]["ratio_ii"]
    return rows


def run_ladder(lab, run_S, seconds_):
    """One repetition after one warm-up of each size, mixed with all techniques."""
    budget = lab_.Budget(seconds_)
    sizes = RUN[:1] if lab.quick else RUN
    configs = [lab_.experiment(lab_.sized(f"{m}M"), T, 1, run_S, lab_.BLOCKED) for m in sizes]
    rows, gflops = [], 0.25 * lab.matmul_gflops
    for millions, config, plan in zip(sizes, configs, lab.plan(configs)):
        fits = 2 * plan["flop"] / (gflops * 1e9) <= budget.left()
        (found,) = lab.bench(config, [("gradient.mode", ["mixed"])], 1, budget.left() if fits else 0)
        if found["measured"]:
            gflops = plan["flop"] / found["step_s"]["median"] * 1e-9
        rows.append(
            {
                "size": millions,
                "static_bytes": plan["static_bytes"],
                "planned_bytes": plan["dynamic_bytes"],
                "predicted_s": plan["predicted_s"],
                **lab_.measured(found),
            }
        )
    return rows


def run(lab, out):
    section = Section(out, "ladder", "4. The ladder of sizes, 44M to 16B")
    section.text(f"Task maml, B {B}, S {S}, T {T}, V 32000, Adam inside; (i), (ii) and (iii) as in the sweep.")
    rows = plan_ladder(lab)
    section.table(
        "ladder",
        rows,
        {
            "size": ("size", lambda m: f"{m}M"),
            "static_bytes": ("static", size),
            "plain_reverse_bytes": ("plain reverse, dynamic", size),
            "reverse_bytes": ("reverse, all remat", size),
            "mixed_bytes": ("mixed, all remat", size),
            "blocked_bytes": ("by blocks", size),
            "ratio_i": ("(i)", ratio),
            "ratio_ii": ("(ii)", ratio),
            "less_ii": ("(ii)", less),
            "ratio_iii": ("(iii)", ratio),
            "predicted_s": ("mixed, time at the matmul peak", seconds),
        },
        f"Planned; {len(SHOWN)} of {len(rows)} sizes, all of them are in the file",
        keep=[row for row in rows if row["size"] in SHOWN],
    )
    run_S = 64 if lab.quick else S
    section.table(
        "ladder_measured",
        run_ladder(lab, run_S, 20 if lab.quick else 11 * 60),
        {
            "size": ("size", lambda m: f"{m}M"),
            "static_bytes": ("static", size),
            "planned_bytes": ("dynamic, planned", size),
            "measured_bytes": ("dynamic, measured", size),
            "rss_bytes": ("process", size),
            "predicted_s": ("time at the matmul peak", seconds),
            "median_s": ("time per meta-step", seconds),
            "reason": ("not measured", str),
        },
        f"Run at B 1, S {run_S}, T {T}, mixed with all techniques, by blocks, once after a warm-up",
    )
    fig, (memory, ratios) = axes(8, 3, 2)
    parameters = [row["parameters"] for row in rows]
    for key, name in (
        ("plain_reverse_bytes", "plain reverse"),
        ("reverse_bytes", "reverse, all remat"),
        ("mixed_bytes", "mixed, all remat"),
        ("blocked_bytes", "by blocks"),
    ):
        memory.plot(parameters, [row[key] / 2**30 for row in rows], ".-", label=name)
    memory.set(xscale="log", yscale="log", xlabel="parameters", ylabel="dynamic memory, GiB")
    for key, name in (("ratio_i", "(i)"), ("ratio_ii", "(ii)"), ("ratio_iii", "(iii)")):
        ratios.plot(parameters, [row[key] for row in rows], ".-", label=name)
    ratios.set(xscale="log", xlabel="parameters", ylabel="baseline over mixed")
    memory.legend()
    ratios.legend()
    section.figure("ladder", fig, "Dynamic memory against size")
    section.facts["rows"] = rows
    return section
