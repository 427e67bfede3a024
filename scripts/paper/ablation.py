"""2. The three techniques switched on and off: 2^3 combinations, planned at 489M, planned and measured at 3.3M and 58M."""

import itertools

from paper import lab as lab_
from paper.section import Section, axes, over, percent, ratio, seconds, size, yes

# Mode varies slowest, the baseline (reverse, nothing else) comes first.
COMBINATIONS = list(itertools.product(("reverse", "mixed"), (False, True), (False, True)))

COLUMNS = {
    "mode": ("mode", str),
    "block": ("block remat", yes),
    "save": ("saved gradients", yes),
    "planned_bytes": ("dynamic, planned", size),
    "memory_ratio": ("first row over this", ratio),
    "flop_share": ("FLOPs, of the first row", percent),
    "predicted_s": ("time at the matmul peak", seconds),
    "measured_bytes": ("dynamic, measured", size),
    "median_s": ("time per meta-step", seconds),
    "reps": ("repetitions", str),
    "time_ratio": ("first row over this", ratio),
    "reason": ("not measured", str),
}
PLANNED = ("mode", "block", "save", "planned_bytes", "memory_ratio", "flop_share", "predicted_s")


def planned(lab, model, T, B, S):
    rows = []
    for (mode, block, save), plan in zip(
        COMBINATIONS,
        lab.plan([lab_.experiment(model, T, B, S, lab_.gradient(*techniques)) for techniques in COMBINATIONS]),
    ):
        rows.append(
            {
                "mode": mode,
                "block": block,
                "save": save,
                "static_bytes": plan["static_bytes"],
                "planned_bytes": plan["dynamic_bytes"],
                "flop": plan["flop"],
                "predicted_s": plan["predicted_s"],
            }
        )
    for row in rows:
        row["memory_ratio"] = rows[0]["planned_bytes"] / row["planned_bytes"]
        row["flop_share"] = row["flop"] / rows[0]["flop"]
    return rows


def add_times(rows, found):
    for row, measurement in zip(rows, found):
        row.update(lab_.measured(measurement))
    for row in rows:
        row["time_ratio"] = over(rows[0]["median_s"], row["median_s"])


def interleaved(lab, model, T, B, S, reps, seconds_):
    """All eight in one interleaved run, so that they see the same state of the machine."""
    base = lab_.experiment(model, T, B, S, lab_.MIXED)
    variants = [lab_.gradient(*techniques) for techniques in COMBINATIONS]
    return lab.bench(base, [("gradient", variants)], reps, seconds_)


def one_by_one(lab, model, T, B, S, rows, seconds_):
    """One repetition after one warm-up, in an order of interest, while the time lasts: what a combination will take
    follows from its FLOPs and the speed of the slowest one before it."""
    budget = lab_.Budget(seconds_)
    found = [{"measured": False, "reason": "no time left"} for _ in rows]
    order = sorted(range(8), key=lambda i: {7: 0, 3: 1, 0: 2, 4: 3}.get(i, 4))
    gflops = 0.25 * lab.matmul_gflops
    for i in order:
        if 2 * rows[i]["flop"] / (gflops * 1e9) > budget.left():
            continue
        config = lab_.experiment(model, T, B, S, lab_.gradient(*COMBINATIONS[i]))
        (found[i],) = lab.bench(config, [("gradient.mode", [COMBINATIONS[i][0]])], 1, budget.left())
        if found[i]["measured"]:
            reached = rows[i]["flop"] / found[i]["step_s"]["median"] * 1e-9
            gflops = min(gflops, reached) if i != order[0] else reached
    return found


def mode_ratios(rows):
    """Time of reverse over mixed where nothing else differs, for each setting of the other two techniques."""
    half = len(rows) // 2
    pairs = zip(rows[:half], rows[half:])
    return [r for r in (over(a.get("median_s"), b.get("median_s")) for a, b in pairs) if r is not None]


def saved_gradients(name, rows):
    """What the third technique costs and gives on top of the other two."""
    without, with_ = rows[6], rows[7]
    return (
        f"At {name} mixed with block rematerialisation reaches {ratio(without['memory_ratio'])} over plain reverse without"
        f" saved gradients and {ratio(with_['memory_ratio'])} with them, for"
        f" {percent(1 - with_['flop'] / without['flop'])} fewer FLOPs."
    )


def bars(section, name, tables):
    fig, places = axes(3.2 * len(tables), 3.4, len(tables))
    for place, (title, rows) in zip(places, tables.items()):
        labels = [f"{r['mode']}{' +block' * r['block']}{' +saved' * r['save']}" for r in rows]
        place.barh(labels, [r["planned_bytes"] / 2**30 for r in rows], color=["C1"] * 4 + ["C0"] * 4)
        place.invert_yaxis()
        place.tick_params(labelsize=7)
        place.set_title(title, fontsize=8)
        place.set_xlabel("dynamic memory, GiB")
    section.figure(name, fig, "Dynamic memory of the eight combinations")


def run(lab, out):
    section = Section(out, "ablation", "2. Ablation: mode, block rematerialisation, saved inner gradients")
    section.text(
        "Task maml, Adam inside, per-step rematerialisation on in every row. The first row of each table is the baseline"
        " of (ii), the last has all three techniques; rows four apart differ in the mode alone (i)."
    )
    tables = {}
    for T in (2, 8):
        rows = planned(lab, lab_.sized("489M"), T, B=4, S=2048)
        tables[f"489M, T {T}"] = rows
        caption = f"489M, B 4, S 2048, T {T}, V 32000, planned"
        section.table(f"ablation_489M_T{T}", rows, {key: COLUMNS[key] for key in PLANNED}, caption)

    T, S = (2, 64) if lab.quick else (4, 256)
    small = planned(lab, lab_.SHAPE_3M, T, B=4, S=S)
    add_times(small, interleaved(lab, lab_.SHAPE_3M, T, 4, S, 5, 40 if lab.quick else 200))
    tables[f"3.3M, T {T}"] = small
    section.table("ablation_3M", small, COLUMNS, f"3.3M, B 4, S {S}, T {T}, V 256, measured in interleaved rounds")

    middle = planned(lab, lab_.SHAPE_58M, T=2, B=2, S=1024)
    tables["58M, T 2"] = middle
    if not lab.quick:
        add_times(middle, one_by_one(lab, lab_.SHAPE_58M, 2, 2, 1024, middle, 13 * 60))
    caption = "58M, B 2, S 1024, T 2, V 32000, " + ("planned" if lab.quick else "measured one after the other, once")
    section.table("ablation_58M", middle, {k: COLUMNS[k] for k in PLANNED} if lab.quick else COLUMNS, caption)
    bars(section, "ablation", tables)
    large = {title: rows for title, rows in tables.items() if title.startswith("489M")}
    section.facts["saved_gradients"] = " ".join(saved_gradients(title, rows) for title, rows in large.items())
    section.facts["mode_time_ratios"] = {"3.3M": mode_ratios(small), "58M": mode_ratios(middle)}
    return section
