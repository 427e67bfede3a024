"""One experiment's part of the results: text, tables (CSV and Markdown) and figures (SVG)."""

import csv

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.hashsalt": "mixflow", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3})

import matplotlib.pyplot as plt  # noqa: E402  (after the choice of the backend)


def size(value):
    return f"{value / 2**30:.2f} GiB" if value >= 2**30 else f"{value / 2**20:.1f} MiB"


def seconds(value):
    return f"{value:.3g} s" if value < 100 else f"{value:.0f} s"


def ratio(value):
    return f"{value:.2f}x"


def percent(value):
    return f"{100 * value:.0f} %"


def less(value):
    """A ratio as the share that is saved: 4x is "75 % less"."""
    return f"{percent(1 - 1 / value)} less" if value >= 1 else f"{percent(1 / value - 1)} more"


def over(a, b):
    """a / b where both are known."""
    return a / b if a is not None and b else None


class Section:
    def __init__(self, out, name, title):
        self.out, self.name, self.title = out, name, title
        self.parts = []
        self.facts = {}  # what the first page says of this experiment

    def text(self, text):
        self.parts.append(" ".join(text.split()))

    def table(self, name, rows, columns, caption=None, keep=None):
        """`rows` (dicts) in full into NAME.csv; `columns`, {key: (heading, format)}, of the rows in `keep` onto the page.
        An unknown value is an empty cell."""
        keys = list(dict.fromkeys(key for row in rows for key in row))
        with open(self.out / f"{name}.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, keys)
            writer.writeheader()
            writer.writerows(rows)
        lines = [f"**{caption}** ([{name}.csv]({name}.csv))", ""] if caption else []
        lines.append("| " + " | ".join(heading for heading, _ in columns.values()) + " |")
        lines.append("|" + "---|" * len(columns))
        for row in rows if keep is None else keep:
            cells = (("" if row.get(key) is None else form(row[key])) for key, (_, form) in columns.items())
            lines.append("| " + " | ".join(cells) + " |")
        self.parts.append("\n".join(lines))

    def report(self, lab, name, paths, caption, rows, values, cols="", baseline=(), agg="mean"):
        """A table by `mixflow report`: all digits into NAME.csv, with plots into NAME.html, Markdown onto the page.
        `baseline` is a list of key=value."""
        options = ["--rows", rows, "--value", values, "--agg", agg]
        options += ["--cols", cols] if cols else []
        options += [f"--baseline={setting}" for setting in baseline]
        for suffix in ("csv", "html"):
            lab.report(paths, *options, "--out", f"{name}.{suffix}")
        # The first paragraph counts the runs.
        tables = lab.report(paths, *options).split("\n\n", 1)[1].strip()
        self.parts.append(f"**{caption}** ([{name}.csv]({name}.csv), [plots]({name}.html))\n\n{tables}")

    def figure(self, name, fig, caption):
        fig.tight_layout()
        fig.savefig(self.out / f"{name}.svg", metadata={"Date": None, "Creator": None})
        plt.close(fig)
        self.parts.append(f"![{caption}]({name}.svg)")

    def markdown(self):
        return f"## {self.title}\n\n" + "\n\n".join(self.parts) + "\n"

    def write(self):
        (self.out / f"{self.name}.md").write_text(self.markdown())


def axes(width, height, columns=1, rows=1):
    """A figure and its axes as a list."""
    fig, grid = plt.subplots(rows, columns, figsize=(width, height), squeeze=False)
    return fig, list(grid.flat)
