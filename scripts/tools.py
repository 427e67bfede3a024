"""What the scripts share: where the binary is, how it is called, reading its files, and facts about the machine."""

import csv
import datetime
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import platform
import re
import struct
import subprocess
import sys
import venv

ROOT = pathlib.Path(__file__).resolve().parent.parent


def need(*packages):
    """Makes sure that these can be imported. Where one is missing, the script starts again under build/venv, into
    which pip installs them first."""
    missing = [p for p in packages if importlib.util.find_spec(p) is None]
    if not missing:
        return
    home = ROOT / "build" / "venv"
    python = home / "bin" / "python3"
    if pathlib.Path(sys.prefix) == home:
        print(f"installing into {home}: {' '.join(missing)}", file=sys.stderr)
        names = [{"yaml": "pyyaml"}.get(p, p) for p in missing]
        subprocess.run([python, "-m", "pip", "install", "--quiet", *names], check=True)
    elif not python.exists():
        venv.create(home, with_pip=True)
    os.execv(python, [str(python), *sys.argv])


def add_binary(parser):
    parser.add_argument(
        "--binary", type=pathlib.Path, default=ROOT / "build" / "release" / "mixflow", help="the mixflow to run"
    )


def check_binary(binary):
    if not os.access(binary, os.X_OK):
        sys.exit(f"{binary} is not there: build it first (scripts/run.sh), or name another by --binary")
    return binary.resolve()


class Failed(Exception):
    """A program that did not end well; its own message."""


def run(*command, cwd=ROOT, env=None, cores=None):
    """Runs to the end, on these cores (None: on all that this process may use), and returns stdout. Throws Failed."""
    command = [str(c) for c in command]
    bind = (lambda: os.sched_setaffinity(0, cores)) if cores else None
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, preexec_fn=bind)
    if done.returncode < 0:
        raise Failed(f"{' '.join(command)}\nended by signal {-done.returncode}\n{done.stderr.strip()}".rstrip())
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)}\nexit code {done.returncode}\n{done.stderr.strip()}".rstrip())
    return done.stdout


def mixflow(binary, *arguments, cwd=ROOT):
    """Runs to the end and returns stdout; a failure ends the script with the binary's own message."""
    try:
        return run(binary, *arguments, cwd=cwd)
    except Failed as failure:
        sys.exit(str(failure))


def train(binary, out, config, *arguments, cwd=ROOT):
    """One training run in the new directory `out`; its summary."""
    return json.loads(mixflow(binary, "train", config, "--out", out, "--quiet", "--json", *arguments, cwd=cwd))


def write_config(path, config):
    """JSON is YAML."""
    pathlib.Path(path).write_text(json.dumps(config, indent=1) + "\n")


def read_jsonl(path):
    return [json.loads(line) for line in pathlib.Path(path).read_text().splitlines()]


def safetensors_index(path):
    """(metadata, {name: (type, shape, begin, end)}), bytes from the start of the file."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    metadata = header.pop("__metadata__", {})
    start = 8 + length
    return metadata, {n: (e["dtype"], e["shape"], *(start + o for o in e["data_offsets"])) for n, e in header.items()}


def read_safetensors(path):
    """(metadata, {name: (type, shape, bytes)})."""
    content = pathlib.Path(path).read_bytes()
    metadata, index = safetensors_index(path)
    return metadata, {n: (kind, shape, content[begin:end]) for n, (kind, shape, begin, end) in index.items()}


def read_events(path):
    """A TensorBoard event file as [(step, file version, {tag: bytes of its float})], without the times; a record that
    is not whole is an error. Checksums are not looked at."""

    def fields(message):
        while message:
            key, message = varint(message)
            if key & 7 == 0:
                value, message = varint(message)
            else:
                size, message = varint(message) if key & 7 == 2 else ({1: 8, 5: 4}[key & 7], message)
                if size > len(message):
                    raise ValueError(f"{path}: an event is cut short")
                value, message = message[:size], message[size:]
            yield key >> 3, value

    def varint(message):
        value = 0
        for i, byte in enumerate(message):
            value |= (byte & 0x7F) << 7 * i
            if byte < 0x80:
                return value, message[i + 1 :]
        raise ValueError(f"{path}: an event is cut short")

    content, events = pathlib.Path(path).read_bytes(), []
    while content:
        (size,) = struct.unpack("<Q", content[:8])
        if len(content) < size + 16:
            raise ValueError(f"{path}: the last record is cut short")
        event, content = dict(fields(content[12 : 12 + size])), content[16 + size :]
        values = (dict(fields(value)) for _, value in fields(event.get(5, b"")))
        events.append((event[2], event.get(3, b""), {value[1].decode(): value[2] for value in values}))
    return events


def cpu_name():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "Model")):
            return line.split(":", 1)[1].strip()
    return "unknown CPU"


def version(package):
    """Of an installed package, or None."""
    return importlib.metadata.version(package) if importlib.util.find_spec(package) else None


def machine(binary):
    """Facts about the machine and the commit, to stand beside what is measured."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "load_average": os.getloadavg(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "commit": commit,
        "mixflow": json.loads(mixflow(binary, "info", "--json")),
    }


def cpu_times():
    """The line of all processors in /proc/stat."""
    return [int(v) for v in pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]


def busy_share(before, after):
    """The share of the machine's time between two readings of cpu_times() that was not idle."""
    spent = [b - a for a, b in zip(before, after)]
    return 1 - (spent[3] + spent[4]) / max(sum(spent), 1)


class Measurements:
    """Raw figures, facts and text as stem.csv, .json and .md in `out` (None: data/runs/<date>-<cpu>). Rows go to
    stem.csv.part as they come, so that what was measured survives whatever happens; `finish` gives the files their
    names."""

    def __init__(self, out, stem, facts, columns):
        cpu = re.sub(r"[^a-z0-9]+", "-", facts["cpu"].lower()).strip("-")
        self.out = out or ROOT / "data" / "runs" / f"{facts['date'][:10]}-{cpu}"
        self.stem, self.facts, self.rows = stem, facts, []
        self.out.mkdir(parents=True, exist_ok=True)
        self.part = self.out / f"{stem}.csv.part"
        self.file = open(self.part, "w", newline="")
        self.writer = csv.DictWriter(self.file, columns)
        self.writer.writeheader()

    def add(self, **row):
        self.rows.append(row)
        self.writer.writerow(row)
        self.file.flush()

    def finish(self, text):
        os.fsync(self.file.fileno())
        self.file.close()
        for suffix, content in (("json", json.dumps(self.facts, indent=1) + "\n"), ("md", text)):
            part = self.out / f"{self.stem}.{suffix}.part"
            with open(part, "w") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.rename(self.out / f"{self.stem}.{suffix}")
        self.part.rename(self.out / f"{self.stem}.csv")
        return self.out
