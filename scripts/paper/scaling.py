"""5. Component scaling: one size at a time, around the 44M shape planned and around a small shape measured."""

from paper import lab as lab_
from paper.section import Section, axes, over, ratio, seconds, size

# Base, and the values of each component; the base's own value is in each list.
LARGE = lab_.shape(layers=8, d_model=512, ffw=2048, heads=8, kv_size=64, vocab=32000), {"T": 2, "B": 4, "S": 2048}
LARGE_VALUES = {
    "layers": (4, 8, 16, 32),
    "ffw": (1024, 2048, 4096, 8192),
    "heads": (4, 8, 16, 32),
    "kv_size": (32, 64, 128, 256),
    "S": (1024, 2048, 4096, 8192),
    "B": (2, 4, 8, 16),
    "T": (1, 2, 4, 8),
}
SMALL = lab_.shape(layers=2, d_model=64, ffw=256, heads=2, kv_size=32, vocab=256), {"T": 2, "B": 2, "S": 128}
SMALL_VALUES = {
    "layers": (2, 4, 8),
    "ffw": (256, 512, 1024),
    "heads": (2, 4, 8),
    "kv_size": (32, 64, 128),
    "S": (128, 256, 512),
    "B": (2, 4, 8),
    "T": (2, 4, 8),
}
KEYS = {"S": "data.sequence", "B": "data.batch", "T": "inner.steps"}


def config(base, component, value, variant):
    model, run = dict(base[0]), dict(base[1])
    (run if component in run else model)[component] = value
    return lab_.experiment(model, run["T"], run["B"], run["S"], variant)


def planned(lab, base, values):
    points = [(c, v, name) for c, own in values.items() for v in own for name in lab_.VARIANTS]
    plans = lab.plan([config(base, c, v, lab_.VARIANTS[name]) for c, v, name in points])
    return [
        {"component": c, "value": v, "variant": name, "planned_bytes": plan["dynamic_bytes"], "flop": plan["flop"]}
        for (c, v, name), plan in zip(points, plans)
    ]


def measure(lab, base, values, rows, seconds_):
    budget = lab_.Budget(seconds_)
    rows = iter(rows)
    for i, (component, own) in enumerate(values.items()):
        key = KEYS.get(component, f"model.{component}")
        over_ = [(key, list(own)), ("gradient", list(lab_.VARIANTS.values()))]
        share = budget.left() / (len(values) - i)
        found = lab.bench(config(base, component, own[0], lab_.MIXED), over_, 2 if lab.quick else 5, share)
        for measurement, row in zip(found, rows):  # in this order: zip must not draw a row too many
            row.update(lab_.measured(measurement))


def ratios(rows):
    """One row for each point: the baselines over mixed, in memory and in time."""
    table = []
    for i in range(0, len(rows), len(lab_.VARIANTS)):
        plain, reverse, mixed = rows[i : i + len(lab_.VARIANTS)]
        table.append(
            {
                "component": mixed["component"],
                "value": mixed["value"],
                "mixed_bytes": mixed["planned_bytes"],
                "measured_bytes": mixed.get("measured_bytes"),
                "ratio_i": reverse["planned_bytes"] / mixed["planned_bytes"],
                "ratio_ii": plain["planned_bytes"] / mixed["planned_bytes"],
                "median_s": mixed.get("median_s"),
                "time_ratio_i": over(reverse.get("median_s"), mixed.get("median_s")),
                "time_ratio_ii": over(plain.get("median_s"), mixed.get("median_s")),
                "reason": mixed.get("reason"),
            }
        )
    return table


def described(base):
    model, run = base
    return (
        f"{model['layers']} layers, d {model['d_model']}, ffw {model['ffw']}, {model['heads']} x {model['kv_size']},"
        f" V {model['vocab']}, B {run['B']}, S {run['S']}, T {run['T']}"
    )


def panels(section, name, rows, values, caption):
    fig, places = axes(11, 4.6, 4, 2)
    for place, component in zip(places, values):
        for variant in lab_.VARIANTS:
            own = [r for r in rows if r["component"] == component and r["variant"] == variant]
            place.plot([r["value"] for r in own], [r["planned_bytes"] / 2**20 for r in own], "-", label=variant)
            done = [r for r in own if r.get("measured_bytes") is not None]
            place.plot([r["value"] for r in done], [r["measured_bytes"] / 2**20 for r in done], "kx")
        place.set_xscale("log")
        place.set_yscale("log", base=2)
        place.yaxis.set_major_formatter("{x:g}")
        place.set_xlabel(component)
        place.set_xticks(values[component], [str(v) for v in values[component]])
        place.minorticks_off()
    places[0].set_ylabel("dynamic memory, MiB")
    places[4].set_ylabel("dynamic memory, MiB")
    places[-1].axis("off")
    places[-1].legend(*places[0].get_legend_handles_labels(), loc="center")
    section.figure(name, fig, caption)


def run(lab, out):
    section = Section(out, "scaling", "5. Component scaling")
    section.text("Task maml; one component at a time, the others as in the base; (i) and (ii) as in the sweep.")
    columns = {
        "component": ("component", str),
        "value": ("value", str),
        "mixed_bytes": ("mixed, dynamic", size),
        "ratio_i": ("(i)", ratio),
        "ratio_ii": ("(ii)", ratio),
    }
    rows = planned(lab, LARGE, LARGE_VALUES)
    section.table("scaling", ratios(rows), columns, f"Planned around {described(LARGE)}")
    panels(section, "scaling", rows, LARGE_VALUES, "Planned dynamic memory against each component")
    rows = planned(lab, SMALL, SMALL_VALUES)
    measure(lab, SMALL, SMALL_VALUES, rows, 45 if lab.quick else 240)
    columns |= {
        "measured_bytes": ("mixed, measured", size),
        "median_s": ("mixed, time per meta-step", seconds),
        "time_ratio_i": ("time (i)", ratio),
        "time_ratio_ii": ("time (ii)", ratio),
        "reason": ("not measured", str),
    }
    section.table("scaling_measured", ratios(rows), columns, f"Planned and measured around {described(SMALL)}")
    panels(section, "scaling_measured", rows, SMALL_VALUES, "Planned dynamic memory; crosses: measured")
    return section
