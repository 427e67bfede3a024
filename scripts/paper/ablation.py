"""2. The three techniques switched on and off: 2^3 combinations, planned at 489M, planned and measured at 3.3M and 58M."""

import itertools

from paper import lab as lab_
from paper.section import Section, axes, over, percent, ratio

# The mode varies slowest, the baseline (reverse, nothing else) comes first.
OVER = [
    ("gradient.mode", ["reverse", "mixed"]),
    ("gradient.remat.block", [False, True]),
    ("gradient.remat.save_inner_grads", [False, True]),
]
KEYS = [key for key, _ in OVER]
COMBINATIONS = [list(zip(KEYS, values)) for values in itertools.product(*(values for _, values in OVER))]

PLANNED = "dynamic_bytes,flop"
MEASURED = "dynamic_bytes,arena_peak_bytes,flop,step_s"
BASELINE = ("gradient.mode=reverse", "gradient.remat.block=false", "gradient.remat.save_inner_grads=false")


def config(name, model, T, B, S):
    return lab_.experiment(model, T, B, S, lab_.MIXED) | {"name": name}


def one_by_one(lab, base, name, seconds_):
    """One repetition after one warm-up, in an order of interest, while the time lasts: what a combination will take
    follows from its FLOPs and the speed of the slowest one before it. One file for each, at least with its plan."""
    budget = lab_.Budget(seconds_)
    overs = [[(key, [value]) for key, value in combination] for combination in COMBINATIONS]
    names = [f"{name}_{i + 1}" for i in range(len(overs))]
    rows = [lab.plan_over(own, base, over)[0] for own, over in zip(names, overs)]
    order = sorted(range(8), key=lambda i: {7: 0, 3: 1, 0: 2, 4: 3}.get(i, 4))
    gflops = 0.25 * lab.matmul_gflops
    for i in order:
        if 2 * rows[i]["flop"] / (gflops * 1e9) > budget.left():
            continue
        (found,) = lab.bench(base, overs[i], 1, budget.left(), names[i])
        if found["measured"]:
            reached = found["flop"] / lab_.median_s(found) * 1e-9
            gflops = min(gflops, reached) if i != order[0] else reached
            rows[i] = found
    return rows


def mode_ratios(rows):
    """Time of reverse over mixed where nothing else differs, for each setting of the other two techniques."""
    half = len(rows) // 2
    pairs = zip(rows[:half], rows[half:])
    return [r for r in (over(lab_.median_s(a), lab_.median_s(b)) for a, b in pairs) if r is not None]


def saved_gradients(name, rows):
    """What the third technique costs and gives on top of the other two."""
    without, with_ = rows[6], rows[7]
    ratios = [ratio(rows[0]["dynamic_bytes"] / row["dynamic_bytes"]) for row in (without, with_)]
    return (
        f"At {name} mixed with block rematerialisation reaches {ratios[0]} over plain reverse without"
        f" saved gradients and {ratios[1]} with them, for"
        f" {percent(1 - with_['flop'] / without['flop'])} fewer FLOPs."
    )


def bars(section, name, tables):
    fig, places = axes(3.2 * len(tables), 3.4, len(tables))
    for place, (title, rows) in zip(places, tables.items()):
        labels = [f"{mode}{' +block' * block}{' +saved' * save}" for (_, mode), (_, block), (_, save) in COMBINATIONS]
        place.barh(labels, [r["dynamic_bytes"] / 2**30 for r in rows], color=["C1"] * 4 + ["C0"] * 4)
        place.invert_yaxis()
        place.tick_params(labelsize=7)
        place.set_title(title, fontsize=8)
        place.set_xlabel("dynamic memory, GiB")
    section.figure(name, fig, "Dynamic memory of the eight combinations")


def run(lab, out):
    section = Section(out, "ablation", "2. Ablation: mode, block rematerialisation, saved inner gradients")
    section.text(
        "Task maml, Adam inside, per-step rematerialisation on in every row. Ratios are to the baseline of (ii): reverse,"
        " no block rematerialisation, no saved gradients. Rows that differ in the mode alone are compared by (i)."
    )
    tables = {}

    def table(name, title, rows, caption):
        values = MEASURED if any(row.get("measured") for row in rows) else PLANNED
        files = lab.files(name)
        section.report(lab, name, files, caption, ",".join(KEYS), values, baseline=BASELINE)
        tables[title] = rows

    for T in (2, 8):
        name = f"ablation_489M_T{T}"
        rows = lab.plan_over(name, config(name, lab_.sized("489M"), T, 4, 2048), OVER)
        table(name, f"489M, T {T}", rows, f"489M, B 4, S 2048, T {T}, V 32000, planned")

    T, S = (2, 64) if lab.quick else (4, 256)
    # All eight in one interleaved run, so that they see the same state of the machine.
    base = config("ablation_3M", lab_.SHAPE_3M, T, 4, S)
    small = lab.bench(base, OVER, 5, 40 if lab.quick else 200, "ablation_3M")
    table("ablation_3M", f"3.3M, T {T}", small, f"3.3M, B 4, S {S}, T {T}, V 256, {lab_.rounds_text(small)} interleaved rounds")

    base = config("ablation_58M", lab_.SHAPE_58M, 2, 2, 1024)
    middle = one_by_one(lab, base, "ablation_58M", 0 if lab.quick else 13 * 60)
    caption = "58M, B 2, S 1024, T 2, V 32000, " + ("planned" if lab.quick else "measured one after the other, once")
    table("ablation_58M", "58M, T 2", middle, caption)
    bars(section, "ablation", tables)
    large = {title: rows for title, rows in tables.items() if title.startswith("489M")}
    section.facts["saved_gradients"] = " ".join(saved_gradients(title, rows) for title, rows in large.items())
    section.facts["mode_time_ratios"] = {"3.3M": mode_ratios(small), "58M": mode_ratios(middle)}
    return section
