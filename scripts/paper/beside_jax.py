"""8. The same ratio in JAX: what XLA plans for the baseline and for mixed mode, beside what mixflow plans."""

import json
import sys

import tools
from paper import lab as lab_
from paper.section import Section, ratio, size

TASK, T, B = "maml", 2, 4
SEQUENCES = (256, 512)
# By variant of lab.VARIANTS.
OPTIONS = {
    "plain reverse": ("--mode", "reverse", "--block-remat", "0", "--save-inner-grads", "0"),
    "reverse": ("--mode", "reverse"),
    "mixed": ("--mode", "mixed"),
}


def of_jax(lab, config):
    """{variant: bytes of XLA's temporaries and results}, and JAX's version. Nothing is run: weights and data are read
    from the file of one meta-gradient for their shapes."""
    adam = config["inner"]["optimizer"] | {"eps_root": 1e-6}  # it has no part in memory; the peer's script reads it
    path = lab.write(config | {"inner": config["inner"] | {"optimizer": adam}})
    inputs = path.with_suffix(".safetensors")
    tools.mixflow(lab.binary, "grad", path, "--out", inputs)
    script = tools.ROOT / "scripts" / "peers" / "jax_transformer.py"
    found, version = {}, ""
    for variant, options in OPTIONS.items():
        out = tools.mixflow(sys.executable, script, inputs, path, "--compile-only", *options)
        planned = json.loads(out)
        found[variant] = planned["temporary_bytes"] + planned["output_bytes"]
        version = planned["version"]
    return found, version


def run(lab, out):
    section = Section(out, "beside_jax", "8. The baseline and its ratio in JAX")
    rows, version = [], ""
    for S in (64, 128) if lab.quick else SEQUENCES:
        configs = [lab_.experiment(lab_.SHAPE_3M, T, B, S, variant, TASK) for variant in lab_.VARIANTS.values()]
        own = dict(zip(lab_.VARIANTS, (plan["dynamic_bytes"] for plan in lab.plan(configs))))
        theirs, version = of_jax(lab, configs[-1])
        for program, found in (("mixflow", own), (f"JAX {version}", theirs)):
            row = {"program": program, "S": S} | {f"{variant}_bytes": found[variant] for variant in OPTIONS}
            row["ratio_i"] = found["reverse"] / found["mixed"]
            row["ratio_ii"] = found["plain reverse"] / found["mixed"]
            rows.append(row)
    section.text(
        f"3.3M (4 layers, d 256, ffw 1024, 4 x 64, V 256), {TASK}, B {B}, T {T}, Adam inside, S x S attention in both"
        " programs. JAX: jitted, scans over steps and blocks, jax.checkpoint around each step and, but for plain reverse,"
        " around each block, mixed mode as a custom derivative of the inner gradient (`scripts/peers/jax_transformer.py`);"
        " the bytes of XLA's temporaries and results on this CPU. mixflow: planned dynamic bytes, which its runs measure to"
        " the byte. Ratios are the baseline's bytes over those of the same program's mixed mode."
    )
    section.table(
        "beside_jax",
        rows,
        {
            "program": ("program", str),
            "S": ("S", str),
            **{f"{variant}_bytes": (variant, size) for variant in OPTIONS},
            "ratio_i": ("(i) only the mode differs", ratio),
            "ratio_ii": ("(ii) plain against all three", ratio),
        },
    )
    section.facts["rows"] = rows
    return section
