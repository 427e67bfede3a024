"""7. Training itself, by sweeps: every technique as the unroll grows, and learned loss weights against none."""

from paper.section import Section


def run(lab, out):
    section = Section(out, "training", "7. Training: the techniques as T grows, and learned weights")
    section.text(
        "Where the other experiments measure single meta-steps, these train small transformers on text, by"
        " `mixflow sweep configs/sweeps/techniques.yaml` and `loss_weighting.yaml`, whose first lines say what to expect."
        " Points run one after the other, so their times are not interleaved. The pages with plots have"
        " their learning curves; the runs themselves are in trained/."
    )
    section.report(
        lab,
        "training_techniques",
        [lab.sweep("techniques")],
        "Initial weights learned through T Adam steps; ratios to mixed mode",
        "inner.steps",
        "dynamic_bytes,step_s,eval_after.loss_after_4",
        cols="name",
        baseline=("name=mixed",),
    )
    seeds = ["--shard", "1/3"] if lab.quick else []  # of three seeds the first
    section.report(
        lab,
        "training_loss_weighting",
        [lab.sweep("loss_weighting", *seeds)],
        "Held-out loss after 0, 4 and 40 inner steps, half of whose examples are noise" + (", of one seed" if lab.quick else ""),
        "name",
        "eval_after.loss_after_0,eval_after.loss_after_4,eval_after.loss_after_40",
    )
    return section
