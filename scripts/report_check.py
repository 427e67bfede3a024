#!/usr/bin/env python3
"""Checks `mixflow report` and the event files by the programs that people read them with.

Trains a small grid of runs and then
  - opens the HTML report in headless Chromium at 1280 and 390 pixels, light and dark, and prints it: no message on the
    console, no request, nothing wider than the window; the screenshots stay in --out, to be looked at;
  - compares every number of its tables, of CSV and of JSON with the runs' own files;
  - reads CSV with Python's csv and with pandas, the event files with tensorboard, and compiles LaTeX with pdflatex;
  - reports 10,000 runs, cloned from one of these with other settings, as every format within --limit seconds.

Needs chromium and pdflatex (Debian: chromium, texlive-latex-base, texlive-latex-recommended); pip installs pandas,
tensorboard and playwright into build/venv.
"""

import argparse
import csv
import io
import itertools
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import tools

tools.need("pandas", "tensorboard", "playwright")
import pandas  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: E402

MODES, STEPS, SEEDS = ("mixed", "reverse"), (2, 4, 8), (1, 2, 3)
VALUES = ("dynamic_bytes", "step_s", "meta_loss_last")
EVENTS = {"inner_loss_first": "inner_loss/first", "inner_loss_last": "inner_loss/last"}
FORMATS = ("md", "csv", "tex", "json", "html")


def check(condition, what):
    if not condition:
        sys.exit(f"FAILED: {what}")


def program(*names):
    """The path of the first of these that is installed."""
    for name in names:
        if path := shutil.which(name):
            return path
    sys.exit(f"{names[0]} is not installed: apt-get install chromium texlive-latex-base texlive-latex-recommended")


def train_grid(binary, runs):
    """{(mode, steps, seed): summary}"""
    summaries = {}
    for mode, steps, seed in itertools.product(MODES, STEPS, SEEDS):
        settings = (f"gradient.mode={mode}", f"inner.steps={steps}", f"seed={seed}", "meta.steps=200", "meta.batch=8",
                    "model.hidden=[16]", "meta.eval.every=40", "meta.eval.tasks=8", "threads=1")
        options = [word for setting in settings for word in ("-s", setting)]
        out = runs / f"{mode}-{steps}-{seed}"
        summaries[mode, steps, seed] = tools.train(binary, out, "configs/quickstart.yaml", *options)
    return summaries


def expected_means(summaries):
    """{(steps, mode): {value: mean over the seeds}}"""
    return {(steps, mode): {v: statistics.fmean(summaries[mode, steps, seed][v] for seed in SEEDS) for v in VALUES}
            for steps in STEPS for mode in MODES}


def close(a, b):
    return abs(float(a) - b) <= 1e-12 * abs(b)


def check_rows(rows, means, where):
    """rows: dictionaries of inner.steps, gradient.mode and VALUES."""
    check(len(rows) == len(means), f"{where} has {len(rows)} rows, expected {len(means)}")
    for row in rows:
        mean = means[int(row["inner.steps"]), row["gradient.mode"]]
        for value in VALUES:
            check(close(row[value], mean[value]), f"{where}: {value} is {row[value]}, the runs' mean {mean[value]}")


def check_csv(text, means):
    rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    check_rows(rows, means, "CSV")
    frame = pandas.read_csv(io.StringIO(text))
    check_rows(frame.to_dict("records"), means, "CSV in pandas")
    check(frame[list(VALUES)].dtypes.map(pandas.api.types.is_numeric_dtype).all(), "columns of numbers in pandas")


def check_json(text, means):
    cells = json.loads(text)["table"]["cells"]
    check_rows([cell["row"] | {v: cell["values"][v]["value"] for v in VALUES} for cell in cells], means, "JSON")


TABLE = """() => { const table = document.querySelector("#results table");
  const names = [...table.querySelectorAll("thead th")].map(cell => cell.textContent);
  return [...table.querySelectorAll("tbody tr")].map(row => Object.fromEntries([...row.children].map((cell, i) =>
    [names[i], cell.querySelector("data")?.value ?? cell.textContent]))); }"""


def check_html(page_file, means, out):
    """Screenshots and a PDF go to `out`."""
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=program("chromium", "chromium-browser", "google-chrome"),
                                       args=["--no-sandbox"])
        for width, scheme in itertools.product((1280, 390), ("light", "dark")):
            page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            messages, requests = [], []
            page.on("console", lambda message: messages.append(message.text))
            page.on("pageerror", lambda error: messages.append(str(error)))
            page.on("request", lambda request: requests.append(request.url))
            page.goto(page_file.as_uri())
            page.screenshot(path=out / f"{width}-{scheme}.png", full_page=True)
            where = f"HTML at {width} px, {scheme}"
            check(not messages, f"{where}: console: {messages}")
            loaded = [url for url in requests if url != page_file.as_uri() and not url.startswith("data:")]
            check(not loaded, f"{where}: requests: {loaded}")
            check(page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{where}: wider than the window")
            check(page.locator("figure svg[role=img]").count() >= 8, f"{where}: plots are missing")
            smallest = page.evaluate("""Math.min(...[...document.querySelectorAll("figure svg text")].map(t =>
              parseFloat(getComputedStyle(t).fontSize) * t.getScreenCTM().a).filter(s => s > 0))""")
            smallest = smallest or 13  # rotated labels have no horizontal scale
            check(smallest >= 10, f"{where}: text of {smallest:.1f} px in plots")
            check_rows(page.evaluate(TABLE), means, where)
            page.close()
        page = browser.new_page()
        page.goto(page_file.as_uri())
        page.pdf(path=out / "printed.pdf", format="A4")
        browser.close()


def check_latex(fragment, out):
    (out / "fragment.tex").write_text(fragment)
    (out / "page.tex").write_text("\\documentclass{article}\n\\usepackage[landscape,margin=1cm]{geometry}\n"
                                  "\\usepackage{booktabs}\n\\begin{document}\n\\tiny\n\\input{fragment}\n\\end{document}\n")
    command = [program("pdflatex"), "-halt-on-error", "-interaction=nonstopmode", "page.tex"]
    done = subprocess.run(command, cwd=out, capture_output=True, text=True)
    check(done.returncode == 0 and (out / "page.pdf").exists(), f"pdflatex: {done.stdout[-2000:]}")


def check_events(run):
    events = EventAccumulator(str(run), size_guidance={"scalars": 0})
    events.Reload()
    lines = tools.read_jsonl(run / "metrics.jsonl")
    for key in ("meta_loss", "meta_grad_norm", "meta_lr", "step_s", *EVENTS):
        scalars = events.Scalars(EVENTS.get(key, key))
        check([s.step for s in scalars] == [line["step"] for line in lines], f"{run}: steps of {key} in tensorboard")
        for scalar, line in zip(scalars, lines):
            check(abs(scalar.value - line[key]) <= 1e-6 * abs(line[key]), f"{run}: {key} at {line['step']} in tensorboard")


def clone_runs(run, out, count):
    """`count` runs with the files of one: other settings, five seeds of each."""
    config = (run / "config.yaml").read_text()
    files = {name: (run / name).read_bytes() for name in ("summary.json", "metrics.jsonl", "eval.jsonl", "log.txt")}
    for i in range(count):
        changes = {"seed: 1": f"seed: {i % 5}", "  steps: 2": f"  steps: {2 ** (i // 5 % 4)}",
                   "mode: mixed": f"mode: {MODES[i // 20 % 2]}", "lr: 0.01": f"lr: {0.01 * (1 + i // 40)}"}
        text = config
        for old, new in changes.items():
            check(f"{old}\n" in text, f"no line {old!r} in {run}/config.yaml")
            text = text.replace(f"{old}\n", f"{new}\n", 1)
        directory = out / f"{i:05}"
        directory.mkdir(parents=True)
        (directory / "config.yaml").write_text(text)
        for name, content in files.items():
            (directory / name).write_bytes(content)


def check_many(binary, runs, out, count, limit):
    for form in FORMATS:
        start = time.monotonic()
        tools.mixflow(binary, "report", runs, "--out", out / f"many.{form}")
        seconds = time.monotonic() - start
        print(f"{count} runs as {form}: {seconds:.2f} s")
        check(seconds < limit, f"{count} runs as {form} took {seconds:.1f} s, expected less than {limit}")
    start = time.monotonic()
    tools.mixflow(binary, "report", runs, "--rows", "gradient.mode", "--value", "meta_loss.min")
    print(f"{count} runs, the least of every metrics.jsonl: {time.monotonic() - start:.2f} s")
    header, *rows = csv.reader((out / "many.csv").open(newline=""), strict=True)
    check(sum(int(row[header.index("runs")]) for row in rows) == count, "the table's runs add up")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    tools.add_binary(parser)
    parser.add_argument("--out", type=pathlib.Path, help="screenshots and reports (default: a new temporary directory)")
    parser.add_argument("--runs", type=int, default=10_000, help="runs of the large report")
    parser.add_argument("--limit", type=float, default=10, help="seconds that it may take")
    args = parser.parse_args()
    binary = tools.check_binary(args.binary)
    out = (args.out or pathlib.Path(tempfile.mkdtemp(prefix="mixflow-report-"))).resolve()
    out.mkdir(parents=True, exist_ok=True)
    for name in ("gnuplot", "pdflatex"):
        program(name)

    with tempfile.TemporaryDirectory(prefix="mixflow-runs-") as directory:
        runs = pathlib.Path(directory) / "runs"
        means = expected_means(train_grid(binary, runs))
        values = ("--value", ",".join(VALUES))
        check_csv(tools.mixflow(binary, "report", runs, "--format", "csv", *values), means)
        check_json(tools.mixflow(binary, "report", runs, "--json", *values), means)
        print("CSV, JSON: numbers of the runs, in csv and pandas")
        check_latex(tools.mixflow(binary, "report", runs, "--format", "tex"), out)
        print("LaTeX: compiled")
        tools.mixflow(binary, "report", runs, "--out", out / "report.html")
        check_html(out / "report.html", means, out)
        print("HTML: numbers of the runs, no message, no request; screenshots in", out)
        for run in sorted(runs.iterdir()):
            check_events(run)
        print("event files: read by tensorboard, as metrics.jsonl")
        many = pathlib.Path(directory) / "many"
        clone_runs(runs / "mixed-2-1", many, args.runs)
        check_many(binary, many, out, args.runs, args.limit)
    print("passed")


if __name__ == "__main__":
    main()
