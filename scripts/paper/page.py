"""The first page of the results: definitions, the paper's headline claims beside what was found, then every section."""

import datetime
import statistics

from paper.section import less, percent, ratio

DEFINITIONS = """## Definitions

- *Static* memory: meta-parameters, their optimiser's state, the initial inner weights and state, data of one meta-step.
  *Dynamic* memory: the peak of everything else that is alive at once in a meta-step. *Planned*: computed from the graph,
  nothing is run. *Measured*: the high-water mark over all pointers handed to kernels.
- *Ratio*: the baseline's dynamic memory (or time) over that of mixed mode with all three techniques; "x % less" is
  1 - 1/ratio. Baselines:
  (i) **only the mode differs**: reverse over reverse, with block rematerialisation and saved inner gradients on both sides;
  (ii) **plain against all three techniques**: reverse over reverse, no block rematerialisation, no saved gradients.
  S x S attention and per-step rematerialisation are on both sides of both.
  (iii) **and by blocks**: the baseline of (ii) against all three techniques with attention by blocks of queries and
  feed-forward and output layers by blocks of tokens, each recomputed by every derivative: no S x S scores, no logits of
  all tokens. The paper's programs have no such blocks; this is what mixflow does where nothing else is asked for.
- *Time*: wall-clock of one meta-step in steady state, the median of the repetitions. *Time at the matmul peak*: the FLOPs
  of the plan, recomputation included, over the measured peak of a matrix product: a lower bound.
- *Carried states*: what the unroll keeps for the backward pass under per-step rematerialisation: weights and optimiser
  state of each step and, if saved, the inner gradients; (4T - 2) times the weights' size with Adam.
"""

REFERENCE = (
    "The paper measured in JAX on accelerators; its cells beyond these headlines are not at hand, so only they are compared."
)


def place(row):
    return f"{row['task']}, {row['size']}, T {row['T']}, B {row['B']}, S {row['S']}"


def best(rows, key):
    row = max(rows, key=lambda r: r[key])
    return f"{ratio(row[key])}, {less(row[key])} ({place(row)})"


def shares(found):
    return f"{percent(found['share_4x'])} of {found['configs']}, median {ratio(found['median'])}"


def carried_share(rows):
    return statistics.median(r["carried_bytes"] / r["mixed_bytes"] for r in rows) if rows else None


def explain_greatest(rows):
    """Why the greatest ratio is not greater."""
    row = max(rows, key=lambda r: r["ratio_ii"])
    bounds = [r["plain_reverse_bytes"] / r["carried_bytes"] for r in rows]
    parts = []
    if row["ratio_ii"] > 10:
        parts.append("More than 10x is reached under (ii).")
    else:
        parts.append(f"10x is not reached: the greatest ratio is {ratio(row['ratio_ii'])}.")
    if row["ratio_ii"] < 20:
        parts.append(
            f"95 % less would be 20x. In the best config, {place(row)}, the carried states are"
            f" {percent(row['carried_bytes'] / row['mixed_bytes'])} of mixed mode's dynamic memory, and the rest is"
            f" {(row['mixed_bytes'] - row['carried_bytes']) / row['scores_bytes']:.1f} times one block's S x S attention"
            " scores: one block's second-order activations are what all three techniques leave, and with S x S attention"
            " they grow like the baseline's. None of the techniques makes the carried states smaller; they alone bound"
            f" the ratio by {ratio(statistics.median(bounds))} in the median config, by {ratio(min(bounds))} in the worst."
        )
    parts.append(
        "Much of the saving is the other two techniques': with them on both sides, (i), the mode alone gives up to"
        f" {ratio(max(r['ratio_i'] for r in rows))}. Both modes go through the same planner, which reuses"
        " memory in place and keeps zeros out of it, so that the baseline too needs less than a general compiler gives it."
    )
    return " ".join(parts)


def explain_blocks(rows, found):
    """What is left where neither scores nor logits are stored whole."""
    carried = statistics.median(r["carried_bytes"] / r["blocked_bytes"] for r in rows)
    flops = statistics.median(r["blocked_flop"] / r["mixed_flop"] for r in rows)
    return (
        f"Without S x S scores and logits of all tokens the ratio is {ratio(found['median'])} in the median config and"
        f" at least 4x in {percent(found['share_4x'])}, at least 10x in {percent(found['share_10x'])}; the carried states"
        f" are {percent(carried)} of the memory then (median), for {ratio(flops)} the FLOPs (median)."
    )


def explain_share(rows, found):
    share = found["share_4x"]
    parts = [f"{percent(share)} under (ii) against the paper's 80 %."]
    low, high = [r for r in rows if r["ratio_ii"] < 4], [r for r in rows if r["ratio_ii"] >= 4]
    if low and high:
        parts.append(
            "What drives it is the carried states, which no technique shrinks and which grow with T and the weights, against"
            " the activations of one step, which all three shrink and which grow with B and S: their share of mixed mode's"
            f" memory is {percent(carried_share(low))} (median) where the ratio is below 4x and {percent(carried_share(high))}"
            " where it is not."
        )
    for axis in ("T", "S", "B"):
        values = sorted({r[axis] for r in rows})
        ends = [[r for r in rows if r[axis] == v] for v in (values[0], values[-1])]
        of = [percent(sum(r["ratio_ii"] >= 4 for r in end) / len(end)) for end in ends]
        parts.append(f"At {axis} {values[0]} {of[0]} of the configs reach 4x, at {axis} {values[-1]} {of[1]}.")
    return " ".join(parts)


def explain_time(wall, found):
    best_ratio = max(found.values())
    flops = list(wall.facts["flop_ratios"].values())
    text = (
        f"By their plans, mixed mode runs {percent(1 - 1 / min(flops))} to {percent(1 - 1 / max(flops))} fewer FLOPs than"
        " reverse, all else equal; the rest of a difference in time is memory traffic, kernels and noise (the figure shows least and greatest)."
    )
    if best_ratio < 1 / 0.75:
        text += (
            " 25 % less is not reached: on a CPU the time of these shapes is that of matrix products, which both modes share"
            " but for the second-order pass; an accelerator may also gain from the traffic that mixed mode avoids."
        )
    return text


def explain_jax(rows):
    """Whether the baseline is a straw man: the same ratio in the program that people use."""
    texts = [
        f"{row['program']} at S {row['S']}: {ratio(row['ratio_ii'])}"
        f" ({row['plain reverse_bytes'] / 2**20:.0f} against {row['mixed_bytes'] / 2**20:.0f} MiB)"
        for row in rows
    ]
    return "Ratio (ii) of maml at 3.3M, each program against itself: " + "; ".join(texts) + "."


def all_time_ratios(sections):
    """Every measured reverse/mixed ratio of time where nothing but the mode differs."""
    found = {}
    if "wallclock" in sections:
        ratios = sections["wallclock"].facts["time_ratios"]
        found |= {f"3.3M, {task}": value for task, value in ratios.items() if value is not None}
    if "ablation" in sections:
        for shape, ratios in sections["ablation"].facts["mode_time_ratios"].items():
            found |= {f"ablation, {shape}, pair {i + 1}": value for i, value in enumerate(ratios)}
    return found


def plain_times(sections):
    ratios = sections["wallclock"].facts["plain_time_ratios"].values() if "wallclock" in sections else []
    known = [value for value in ratios if value is not None]
    return f"{less(max(known))} at best, {less(min(known))} at worst (3.3M)" if known else "not measured"


def claims(sections):
    lines = ["| claim of the paper | here, (i) only the mode differs | here, (ii) plain against all three | here, (iii) and by blocks |"]
    lines.append("|---|---|---|---|")
    notes = []
    if "sweep" in sections:
        facts = sections["sweep"].facts
        rows = facts["rows"]
        lines.append(
            f"| up to 95 % less, more than 10x less dynamic memory | {best(rows, 'ratio_i')} | {best(rows, 'ratio_ii')} |"
            f" {best(rows, 'ratio_iii')} |"
        )
        lines.append(
            "| about 4x less or better in 80 % of configurations |"
            f" {shares(facts['all']['ratio_i'])} | {shares(facts['all']['ratio_ii'])} | {shares(facts['all']['ratio_iii'])} |"
        )
        notes.append("**The greatest saving.** " + explain_greatest(rows))
        notes.append("**By blocks.** " + explain_blocks(rows, facts["all"]["ratio_iii"]))
        notes.append("**The share of configurations.** " + explain_share(rows, facts["all"]["ratio_ii"]))
    found = all_time_ratios(sections)
    if found:
        where = max(found, key=found.get)
        median = statistics.median(found.values())
        lines.append(
            f"| up to 25 % less time | {less(found[where])} ({where}); median of {len(found)} pairs"
            f" {less(median)} | {plain_times(sections)} | - |"
        )
        if "wallclock" in sections:
            notes.append("**Time.** " + explain_time(sections["wallclock"], found))
    if "ablation" in sections:
        notes.append("**Saved gradients** trade memory for time. " + sections["ablation"].facts["saved_gradients"])
    if "toy" in sections:
        notes.append("**Toy.** " + sections["toy"].facts["summary"])
    if "beside_jax" in sections:
        notes.append("**In JAX.** " + explain_jax(sections["beside_jax"].facts["rows"]))
    if "sweep" in sections:
        notes.append(
            f"**Plan and measurement.** {facts['measured']} scaled-down runs of the sweep were measured; in"
            f" {facts['wrong']} of them the dynamic memory differs from the plan."
        )
    table = "\n".join(lines) if len(lines) > 2 else "Nothing that they can be compared with was run."
    return "\n\n".join([table, *notes])


def combined(lab):
    """report.html: one page by `mixflow report` of what `plan` and `bench` printed; False where nothing was kept."""
    if not lab.kept:
        return False
    keys = "config,gradient.mode,gradient.remat.block,gradient.remat.save_inner_grads"
    values = "dynamic_bytes,flop" + ",step_s" * lab.has_times
    ratios = ["--baseline", "gradient.mode=reverse"]
    lab.report(lab.files(""), "--rows", keys, "--value", values, *ratios, "--out", "report.html")
    return True


def write(out, lab, sections, failed, spent):
    by_name = {section.name: section for section in sections}
    today = datetime.date.today().isoformat()
    parts = [
        "# MixFlow-MG's tables and figures on a CPU",
        "Scalable Meta-Learning via Mixed-Mode Differentiation, Kemaev et al., ICML 2025, arXiv 2505.00793."
        f" Written by `scripts/reproduce_paper.sh{' --quick' if lab.quick else ''}` on {today} in {spent / 60:.1f} min on"
        f" {lab.info['cpu']}, {lab.info['threads']} threads, float32, matmul peak {lab.matmul_gflops:.0f} GFLOP/s."
        + (" A quick run: shapes are smaller, of the sweep only the corners are planned." if lab.quick else ""),
        DEFINITIONS.strip(),
        "## The paper's headline claims",
        REFERENCE,
        claims(by_name),
    ]
    if combined(lab):
        parts.insert(2, "Ablation and wall-clock on one page, with plots: [report.html](report.html).")
    parts += [f"**{name} failed:** {message}" for name, message in failed.items()]
    parts += [section.markdown().strip() for section in sections]
    (out / "README.md").write_text("\n\n".join(parts) + "\n")
