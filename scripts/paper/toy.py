"""1. The paper's motivating example: M recursive transformations in the per-step loss."""

from paper import lab as lab_
from paper.section import Section, axes, over, ratio, seconds, size

WIDTH, EXAMPLES, T = 64, 1024, 4
MODES = {"reverse": lab_.REVERSE, "mixed": lab_.MIXED}


def config(M, variant):
    return {
        "name": "toy",
        "data": {"kind": "sinusoid", "shots": EXAMPLES, "queries": EXAMPLES},
        "model": {"kind": "mlp", "hidden": [WIDTH] * M, "activation": "tanh"},
        "inner": {"loss": "mse", "steps": T, "optimizer": {"kind": "sgd", "lr": 0.01}},
        "meta": {"parameters": [{"kind": "init"}], "optimizer": lab_.ADAM, "batch": 1},
        "gradient": variant,
    }


def run(lab, out):
    section = Section(out, "toy", "1. Toy: M recursive transformations in the per-step loss")
    section.text(
        f"x -> tanh(W x + b), M times, width {WIDTH}, {EXAMPLES} examples, mean squared error, T = {T} steps of SGD,"
        " meta-gradient for the initial weights. The two modes differ in nothing else; per-step rematerialisation and"
        " saved inner gradients on both sides."
    )
    sizes = [1, 4, 16] if lab.quick else [1, 2, 4, 8, 16, 32, 64]
    budget = lab_.Budget(25 if lab.quick else 180)
    plans = iter(lab.plan([config(M, variant) for M in sizes for variant in MODES.values()]))
    rows = []
    for i, M in enumerate(sizes):
        share = budget.left() / (len(sizes) - i)  # the largest come last and may use what the small ones left
        reps = lab.bench(config(M, lab_.MIXED), [("gradient", list(MODES.values()))], 3 if lab.quick else 7, share)
        own = [
            {"M": M, "mode": mode, "planned_bytes": next(plans)["dynamic_bytes"], **lab_.measured(row)}
            for mode, row in zip(MODES, reps)
        ]
        for row in own:
            row["memory_ratio"] = own[0]["planned_bytes"] / row["planned_bytes"]
            row["time_ratio"] = over(own[0]["median_s"], row["median_s"])
        rows += own
    section.table(
        "toy",
        rows,
        {
            "M": ("M", str),
            "mode": ("mode", str),
            "planned_bytes": ("dynamic, planned", size),
            "measured_bytes": ("measured", size),
            "memory_ratio": ("reverse over this", ratio),
            "median_s": ("time per meta-step", seconds),
            "time_ratio": ("reverse over this", ratio),
            "reason": ("not measured", str),
        },
    )
    fig, (memory, wall) = axes(8, 3, 2)
    for mode in MODES:
        own = [row for row in rows if row["mode"] == mode]
        memory.plot([r["M"] for r in own], [r["planned_bytes"] / 2**20 for r in own], label=f"{mode}, planned")
        done = [row for row in own if row["median_s"] is not None]
        memory.plot([r["M"] for r in done], [r["measured_bytes"] / 2**20 for r in done], "x", label=f"{mode}, measured")
        wall.plot([r["M"] for r in done], [r["median_s"] for r in done], "o-", label=mode)
    memory.set(xlabel="M", ylabel="dynamic memory, MiB")
    wall.set(xlabel="M", ylabel="seconds per meta-step")
    memory.legend()
    wall.legend()
    last = rows[-1]
    section.facts["summary"] = (
        f"At M = {last['M']} the dynamic memory of reverse is {ratio(last['memory_ratio'])} that of mixed"
        + (f", its time {ratio(last['time_ratio'])}" if last["time_ratio"] is not None else "")
        + ". The layers are not a loop here and nothing within a step is recomputed."
    )
    section.figure("toy", fig, "Memory and time against M")
    return section
