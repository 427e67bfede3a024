#!/usr/bin/env python3
"""Random small configs over all keys of the schema, each run and compared with itself.

    scripts/random_configs.py [--count 1000] [--seed 1] [--jobs 2] [--seconds S] [--jax N] [--keep DIR] [--only INDEX]

Configs are drawn from `mixflow train --schema --json`, so that a new key is among them as soon as it exists. Most fit
together; some are wrong on purpose. Of each:

  - `plan`, `grad` and a `train` of two meta-steps end with exit code 0 or 2, or with 1 where a value is not finite;
  - the meta-gradient in float64 is the same with short loops inlined or not (gradient.remat.inline), and in mixed and in
    reverse mode, to a relative error of 1e-9.

A config that fails is reduced to few keys and printed with its command; the exit code is then 1. With --jax N, N of the
valid configs are compared with JAX as well (scripts/jax_reference), which is installed into build/venv where it is missing.
Commands are forked from build/release/tests/command_server where that is built: starting mixflow anew costs a third more."""

import argparse
import array
import collections
import concurrent.futures
import copy
import json
import math
import os
import pathlib
import queue
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time

import tools

TOLERANCE = 1e-9
CPU_SECONDS, ADDRESS_BYTES = 20, 8 << 30
TOKEN_KINDS = ("text", "tokens", "random_tokens")


# --- data --------------------------------------------------------------------------------------------------------


def write_npy(path, values, shape, kind):
    """`kind`: an array type code and its name in a .npy, ("d", "<f8") or ("i", "<i4")."""
    header = f"{{'descr': '{kind[1]}', 'fortran_order': False, 'shape': {tuple(shape)}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    data = array.array(kind[0], values).tobytes()
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data)


def write_data(directory):
    """Files for every kind of data that reads some: {name: path}."""
    rng = random.Random(5)
    normal = lambda n: [rng.gauss(0, 1) for _ in range(n)]
    names = ["x.npy", "two.npy", "ten.npy", "real.npy", "text.txt", "ids.npy", "ids.bin", "table.csv"]
    files = {name: directory / name for name in names}
    write_npy(files["x.npy"], normal(40 * 3), (40, 3), ("d", "<f8"))
    write_npy(files["two.npy"], [i % 2 for i in range(40)], (40,), ("i", "<i4"))
    write_npy(files["ten.npy"], [i % 10 for i in range(40)], (40,), ("i", "<i4"))
    write_npy(files["real.npy"], normal(40), (40,), ("d", "<f8"))
    write_npy(files["ids.npy"], [rng.randrange(11) for _ in range(3000)], (3000,), ("i", "<i4"))
    files["ids.bin"].write_bytes(array.array("H", [rng.randrange(11) for _ in range(3000)]).tobytes())
    files["text.txt"].write_bytes(bytes(97 + rng.randrange(9) for _ in range(3000)))
    rows = ["a,b,label"] + [f"{rng.random()},{rng.random()},{i % 2}" for i in range(40)]
    files["table.csv"].write_text("\n".join(rows) + "\n")
    return {name: str(path) for name, path in files.items()}


# --- drawing -----------------------------------------------------------------------------------------------------


def kinds_of(section):
    return section["properties"]["kind"]["enum"] if "allOf" in section else []


def keys_of(section, kind):
    """The keys that apply under this kind."""
    for case in section.get("allOf", []):
        if case["if"]["properties"]["kind"]["const"] == kind:
            return case["then"]["properties"]
    return section["properties"]


class Draw:
    """One random config. Values come from the schema's types and ranges; `hints` has what these do not say: sizes that
    stay small, and what fits to what has been drawn already."""

    def __init__(self, schema, files, rng):
        self.schema, self.files, self.rng = schema, files, rng
        self.fits = rng.random() < 0.85  # whether the parts are chosen to fit together
        self.wrong = 0 if rng.random() < 0.9 else 0.05  # share of the values that are out of range
        self.density = rng.choice([0.1, 0.25, 0.5])  # share of the optional keys that are given
        self.config = {}
        self.hints = {
            "name": lambda: rng.choice(["a", "run-1", "x_2"]),
            "seed": lambda: rng.randrange(1000),
            "threads": lambda: rng.choice([1, 1, 2]),
            "data.path": lambda: self.files[{"text": "text.txt"}.get(self.data, rng.choice(["ids.npy", "ids.bin"]))],
            "data.x": self.data_x,
            "data.y": self.data_y,
            "data.target_column": lambda: "label" if self.x() == self.files["table.csv"] else None,
            "data.target": lambda: "regression" if self.loss == "mse" else "classification",
            "data.shots": lambda: rng.randint(1, 4),
            "data.queries": lambda: rng.randint(1, 4),
            "data.ways": lambda: 2,
            "data.train_classes": lambda: rng.choice([[0, 1, 2], [5, 2]]),
            "data.validation_classes": lambda: [6, 7],
            "data.test_classes": lambda: [9, 8],
            "data.sequence": lambda: rng.randint(1, 8),
            "data.batch": lambda: rng.randint(self.data in TOKEN_KINDS, 5),
            "data.outer_batch": lambda: rng.randint(0, 3),
            "data.validation": lambda: rng.uniform(0.2, 0.4),
            "data.test": lambda: rng.uniform(0.2, 0.4),
            "model.hidden": lambda: [rng.randint(1, 9) for _ in range(rng.choice([0, 1, 1, 2, 3]))],
            "model.vocab": lambda: {"text": 256, "tokens": 11}.get(self.data, rng.randint(2, 13)),
            "model.size": lambda: None,
            "meta.parameters[].model.size": lambda: None,
            "meta.parameters[].model.vocab": lambda: self.config.get("model", {}).get("vocab"),
            "inner.loss": lambda: self.loss,
            "inner.steps": lambda: rng.choice([1, 1, 2, 2, 3, 4, 6]),
            "inner.window": lambda: rng.randint(0, self.steps()),
            "inner.reset_every": lambda: rng.choice([1, 1, 1, 0, 2]),
            "inner.optimizer.lr": lambda: 10 ** rng.uniform(-3, -0.7),
            "meta.parameters": self.parameters,
            "meta.optimizer.lr": lambda: 10 ** rng.uniform(-4, -2),
            "meta.batch": lambda: rng.choice([1, 2, 2, 3, 4, 6]),
            "meta.steps": lambda: rng.randint(1, 3),
            "meta.checkpoint_every": lambda: rng.randint(1, 3),
            "meta.eval.tasks": lambda: rng.randint(1, 3),
            "meta.eval.steps": lambda: rng.sample(range(6), rng.randint(0, 3)),
            "gradient.mode": lambda: rng.choice(["mixed"] * 6 + ["reverse"] * 2 + ["first_order", "finite_difference"]),
            "gradient.chunk": lambda: rng.choice([0, 1, self.config.get("meta", {}).get("batch", 1)]),
            "gradient.finite_difference_eps": lambda: 10 ** rng.uniform(-6, -3),
        }
        self.at_most = {  # widths of networks, the scorer's too
            "d_model": lambda: rng.randint(1, 8), "ffw": lambda: rng.randint(1, 9), "heads": lambda: rng.randint(1, 3),
            "kv_size": lambda: 2 * rng.randint(1, 3), "layers": lambda: rng.randint(1, 3),
        }  # fmt: skip

    def draw(self):
        rng = self.rng
        self.data = rng.choice(kinds_of(self.schema["properties"]["data"]))
        tokens = self.data in TOKEN_KINDS
        self.model = "transformer" if tokens == self.fits or not tokens and rng.random() < 0.2 else "mlp"
        if self.fits:
            self.model = "transformer" if tokens else "mlp"
        losses = self.schema["properties"]["inner"]["properties"]["loss"]["enum"]
        fitting = {"sinusoid": ["mse"], "tabular": losses}.get(self.data, ["cross_entropy"])
        self.loss = rng.choice(fitting if self.fits else losses)
        self.optimizer = rng.choice(kinds_of(self.schema["properties"]["inner"]["properties"]["optimizer"]))
        # What others refer to comes first.
        order = sorted(self.schema["properties"], key=self.place)
        for name in order:
            key = self.schema["properties"][name]
            must = name in self.schema["required"] or name == "inner"
            if must or rng.random() < max(self.density, 0.4):
                self.config[name] = self.value(name, key)
        if self.fits:
            self.settle()
        return self.config

    def settle(self):
        """Takes back what contradicts something else that was drawn."""
        sections = {n: s for n, s in self.config.items() if isinstance(s, dict)}
        data, inner, meta, gradient = (sections.get(n, {}) for n in ("data", "inner", "meta", "gradient"))
        classes = ["train_classes", "validation_classes", "test_classes"]
        if not all(name in data for name in classes):
            for name in classes:
                data.pop(name, None)
        parameters = meta.get("parameters")
        for entry in parameters if isinstance(parameters, list) else []:
            if entry["kind"] == "l2" and "init" not in entry and inner.get("l2") is None:
                inner["l2"] = 0.01
            if entry["kind"] == "init":
                inner.pop("reset_every", None)
                if inner.get("window") != inner.get("steps"):
                    inner.pop("window", None)
        if "preset" in gradient and "remat" in gradient:
            del gradient[self.rng.choice(["preset", "remat"])]

    @staticmethod
    def place(name):
        first = ["data", "model", "inner", "meta"]
        return first.index(name) if name in first else len(first)

    def section(self, path, section):
        chosen = {"data": "data", "model": "model", "inner.optimizer": "optimizer"}.get(path)
        kinds = kinds_of(section)
        kind = None
        if kinds:
            kind = getattr(self, chosen) if chosen else self.rng.choice(kinds)
        keys = keys_of(section, kind)
        # The required ones of a case are listed beside its properties.
        required = set(section.get("required", []))
        for case in section.get("allOf", []):
            if case["if"]["properties"]["kind"]["const"] == kind:
                required |= set(case["then"].get("required", []))
        result = {}
        if kinds and ("kind" in required or chosen or self.rng.random() < 0.8):
            result["kind"] = kind
        elif kinds:  # its default's keys
            keys = keys_of(section, section["properties"]["kind"].get("default"))
        if path == "inner":
            result["loss"] = self.value("inner.loss", keys["loss"])
            result["steps"] = self.value("inner.steps", keys["steps"])
            self.config["inner"] = result
            result["optimizer"] = self.value("inner.optimizer", keys["optimizer"])
        if path == "meta":
            self.config["meta"] = result
            result["batch"] = self.value("meta.batch", keys["batch"])
        if path == "data":
            self.config["data"] = result
            if self.data in ("digits", "mnist"):
                result["x"], result["y"] = self.files["x.npy"], self.files["ten.npy"]
            if self.data == "tabular":
                result["x"] = self.data_x()
            # Their defaults are other files, or more classes than there are.
            required |= keys.keys() & {"y", "path", "target", "target_column", "ways"}
        if path.endswith("model") and "d_model" in keys:
            required |= {"d_model", "ffw", "heads", "kv_size", "layers", "vocab"} if path == "model" else set(self.at_most)
        for name, key in keys.items():
            if name in result or not (name in required or self.rng.random() < self.density):
                continue
            value = self.value(f"{path}.{name}", key)
            if value is not None:
                result[name] = value
        return result

    def value(self, path, key):
        rng = self.rng
        if rng.random() < self.wrong:
            return rng.choice([-1, 0, 1.5, "word", [], True, 10**9, None, {}, [1, 2, 3]])
        if path in self.hints and path != "data.x" or path == "data.x" and self.data != "sinusoid":
            return self.hints[path]()
        if path.rsplit(".")[-1] in self.at_most and ".model." in "." + path:
            return self.at_most[path.rsplit(".")[-1]]()
        if "properties" in key:
            return self.section(path, key)
        while "anyOf" in key:
            key = rng.choice(key["anyOf"])
        if "enum" in key:
            return rng.choice(key["enum"])
        kind = key["type"]
        if isinstance(kind, list):
            kind = rng.choice(kind)
        draw = {"null": lambda k: None, "boolean": lambda k: rng.random() < 0.5, "integer": self.integer,
                "number": self.number, "string": self.string, "array": lambda k: self.array(path, k)}  # fmt: skip
        return draw[kind](key)

    def integer(self, key):
        return min(key.get("minimum", 0) + self.rng.choice([0, 1, 1, 2, 3, 5]), key.get("maximum", 2**53))

    def number(self, key):
        rng = self.rng
        low, high = key.get("minimum", key.get("exclusiveMinimum")), key.get("maximum", key.get("exclusiveMaximum"))
        if low is not None and high is not None:
            ends = [key[k] for k in ("minimum", "maximum") if k in key]
            return rng.choice(ends) if ends and rng.random() < 0.2 else rng.uniform(low, high)
        if "minimum" in key and rng.random() < 0.1:
            return key["minimum"]
        return (key.get("default") or 0.1) * 10 ** rng.uniform(-1, 1)

    def string(self, key):
        return key.get("default") or self.rng.choice(["", "a", "1"])

    def array(self, path, key):
        count = self.rng.randint(key.get("minItems", 0), key.get("maxItems", 3))
        items = [self.value(f"{path}[]", key["items"]) for _ in range(count)]
        if count == 2 and key.get("maxItems") == 2:  # a range
            items = sorted(items)
        return items

    # --- hints that are more than a line

    def steps(self):
        steps = self.config.get("inner", {}).get("steps", 1)
        return steps if isinstance(steps, int) and steps > 0 else 1

    def x(self):
        return self.config.get("data", {}).get("x")

    def data_x(self):
        choice = self.data == "tabular" and self.loss == "bce" and self.rng.random() < 0.5
        return self.files["table.csv" if choice else "x.npy"]

    def data_y(self):
        if self.x() == self.files["table.csv"]:
            return None
        return self.files[{"mse": "real.npy", "bce": "two.npy"}.get(self.loss, "ten.npy")]

    def parameters(self):
        """One to three kinds, each once, mostly such as the inner optimiser has."""
        rng = self.rng
        item = self.schema["properties"]["meta"]["properties"]["parameters"]["items"]
        optimizer = self.schema["properties"]["inner"]["properties"]["optimizer"]
        hypers = set().union(*(keys_of(optimizer, kind) for kind in kinds_of(optimizer)))
        lacks = hypers - keys_of(optimizer, self.optimizer).keys()
        if self.model == "mlp":
            lacks |= {"loss_weights"}
        kinds = [k for k in kinds_of(item) if not (self.fits and k in lacks)]
        result = []
        for kind in rng.sample(kinds, min(rng.choice([1, 1, 2, 3]), len(kinds))):
            entry = {"kind": kind}
            for name, key in keys_of(item, kind).items():
                if name == "model":
                    entry[name] = self.section("meta.parameters[].model", key)
                elif name == "granularity" and rng.random() < 0.6:
                    entry[name] = self.value("meta.parameters[].granularity", key)
                elif name == "bounds" and rng.random() < 0.1:
                    entry[name] = [-5, 5]
                elif name not in entry and name not in ("granularity", "bounds") and rng.random() < self.density:
                    value = self.value(f"meta.parameters[].{name}", key)
                    if value is not None:
                        entry[name] = value
            if "init" in entry and kind not in ("lr", "l2", "weight_decay") and isinstance(entry["init"], float):
                entry["init"] = min(abs(entry["init"]), 0.9)
            result.append(entry)
        return result


# --- running -----------------------------------------------------------------------------------------------------


class Runner:
    """mixflow's commands, one at a time: (exit code or minus the signal, what it wrote to stderr)."""

    def __init__(self, binary, server, directory):
        self.binary, self.directory = binary, directory
        self.server = None
        if server:
            self.server = subprocess.Popen([server], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, *arguments):
        arguments = [str(a) for a in arguments]
        if self.server is None:
            done = subprocess.run([self.binary, *arguments], cwd=self.directory, capture_output=True, text=True)
            return done.returncode, done.stderr
        command = {"arguments": arguments, "cpu_seconds": CPU_SECONDS, "address_bytes": ADDRESS_BYTES,
                   "directory": str(self.directory)}  # fmt: skip
        self.server.stdin.write(json.dumps(command) + "\n")
        self.server.stdin.flush()
        answer = json.loads(self.server.stdout.readline())
        return answer.get("code", -answer.get("signal", 0)), answer["errors"]


def read_tensors(path):
    codes = {"F64": "d", "F32": "f", "I32": "i"}
    _, stored = tools.read_safetensors(path)
    return {name: array.array(codes[kind], data) for name, (kind, _, data) in stored.items()}


def norm(x):
    return math.sqrt(sum(v * v for v in x))


def worst_difference(a, b):
    """(relative error of the worst tensor, its name). A tensor that is nothing but rounding beside the others of its kind
    is measured against theirs."""
    if a.keys() != b.keys():
        return math.inf, ", ".join(sorted(a.keys() ^ b.keys()))
    kind = lambda name: ".".join(name.split(".")[:2])
    squares = collections.Counter()
    for name, values in b.items():
        squares[kind(name)] += norm(values) ** 2
    worst = (0.0, "")
    for name, values in b.items():
        difference = norm([x - y for x, y in zip(a[name], values)])
        scale = max(norm(values), 1e-6 * math.sqrt(squares[kind(name)]))
        error = difference / scale if scale > 0 else difference
        if not error <= worst[0]:
            worst = (error if error == error else math.inf, name)
    return worst


def is_of_values(errors):
    """Whether exit code 1 says that something was not finite, which a random config may well come to."""
    return any(word in errors for word in ("finite", "NaN", "nan", "diverge", "overflow"))


def fault_of(runner, config):
    """What is wrong with what mixflow makes of it: (a word for the kind of fault, the command, details), or None; and
    whether the config is valid."""
    directory = runner.directory
    tools.write_config(directory / "case.yaml", config)
    grad = lambda name, *more: ("grad", "case.yaml", "--out", name, "-s", "precision=f64", "-s", "threads=1", *more)
    mode = config.get("gradient", {}).get("mode", "mixed") if isinstance(config.get("gradient"), dict) else "mixed"
    commands = {"inline": grad("inline.safetensors", "-s", "gradient.remat.inline=true")}
    if mode != "finite_difference":
        commands["loops"] = grad("loops.safetensors", "-s", "gradient.remat.inline=false")
    if mode in ("mixed", "reverse"):
        other = "reverse" if mode == "mixed" else "mixed"
        commands["other mode"] = grad("other.safetensors", "-s", f"gradient.mode={other}")
    commands["plan"] = ("plan", "case.yaml", "--json", "-s", "threads=1")
    run = directory / "run"
    shutil.rmtree(run, ignore_errors=True)
    commands["train"] = ("train", "case.yaml", "--out", run, "--quiet", "-s", "meta.steps=2", "-s", "meta.eval.tasks=1")
    codes = {}
    for what, command in commands.items():
        code, errors = runner.run(*command)
        codes[what] = code
        if code not in (0, 2) and not (code == 1 and is_of_values(errors)):
            return (f"exit code {code}", command, errors.strip()), False
        if code == 2 and not errors.strip():
            return ("exit code 2 without a message", command, ""), False
        if what == "inline" and code == 2:
            return None, False  # the others would say the same
    tensors = {}
    for what in ("inline", "loops", "other mode"):
        if codes.get(what) == 0:
            tensors[what] = read_tensors(directory / commands[what][3])
    for what in ("loops", "other mode"):
        if what not in codes:
            continue
        if codes[what] != codes["inline"]:
            return ("exit codes differ", commands[what], f"{codes['inline']} and, {what}, {codes[what]}"), True
        if what in tensors:
            error, name = worst_difference(tensors[what], tensors["inline"])
            if not error <= TOLERANCE:
                return ("gradients differ", commands[what], f"{name}: relative difference {error:.1e}"), True
    return None, codes["inline"] == 0


# --- reduction ---------------------------------------------------------------------------------------------------


def without_one(node):
    """Every config that lacks one key or list item of this one, large ones first."""
    if isinstance(node, dict):
        for key in node:
            yield {k: v for k, v in node.items() if k != key}
        for key, value in node.items():
            for smaller in without_one(value):
                yield {**node, key: smaller}
    elif isinstance(node, list):
        for i in range(len(node)):
            yield node[:i] + node[i + 1 :]
        for i, value in enumerate(node):
            for smaller in without_one(value):
                yield node[:i] + [smaller] + node[i + 1 :]


def reduced(runner, config, fault, most=300):
    """The config without what its fault does not need."""
    again = True
    while again and most > 0:
        again = False
        for smaller in without_one(config):
            most -= 1
            if most <= 0:
                break
            found, _ = fault_of(runner, smaller)
            if found is not None and found[0] == fault[0]:
                config, fault, again = smaller, found, True
                break
    return config, fault


# --- JAX ---------------------------------------------------------------------------------------------------------


def resolved(schema, config):
    """The config with the defaults of the schema written out, null left out: what the reference in JAX reads."""
    result = copy.deepcopy(config)
    kind = config.get("kind", schema["properties"].get("kind", {}).get("default"))
    for name, key in keys_of(schema, kind).items():
        value = config.get(name, key.get("default"))
        if "properties" in key:
            value = resolved(key, config.get(name) or {})
        if value is None:
            result.pop(name, None)
        else:
            result[name] = value
    if result.get("size") == "":
        del result["size"]
    return result


def for_jax(schema, config):
    """The config as the reference takes it, or None where it has no such thing."""
    config = resolved(schema, config)
    if config["gradient"]["mode"] not in ("mixed", "reverse"):
        return None
    config.pop("precision")
    return config


# --- all of it ---------------------------------------------------------------------------------------------------


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    tools.add_binary(parser)
    parser.add_argument("--server", type=pathlib.Path, help="command_server (default: tests/command_server beside the binary)")
    parser.add_argument("--count", type=int, default=1000, help="how many (default: 1000)")
    parser.add_argument("--seed", type=int, default=1, help="other configs (default: 1)")
    parser.add_argument("--first", type=int, default=0, help="index of the first one, to go on (default: 0)")
    parser.add_argument("--only", type=int, help="the config with this index, printed")
    parser.add_argument("--jobs", type=int, default=1, help="at a time (default: 1)")
    parser.add_argument("--seconds", type=float, default=math.inf, help="begin no more after so many seconds")
    parser.add_argument("--most-faults", type=int, default=5, help="stop after so many (default: 5)")
    parser.add_argument("--jax", type=int, default=0, metavar="N", help="compare N valid ones with JAX")
    arguments = parser.parse_args()
    binary = tools.check_binary(arguments.binary)
    if arguments.jax:
        tools.need("numpy", "jax")
        import compare_jax
    server = arguments.server or binary.parent / "tests" / "command_server"
    server = server.resolve() if os.access(server, os.X_OK) else None
    schema = json.loads(tools.mixflow(binary, "train", "--schema", "--json"))

    with tempfile.TemporaryDirectory(prefix="random_configs.") as name:
        home = pathlib.Path(name)
        files = write_data(home)
        draw = lambda i: Draw(schema, files, random.Random(f"{arguments.seed}/{i}")).draw()
        if arguments.only is not None:
            print(json.dumps(draw(arguments.only), indent=1))
            arguments.first, arguments.count = arguments.only, 1
        runners = queue.SimpleQueue()
        for job in range(arguments.jobs):
            (home / str(job)).mkdir()
            runners.put(Runner(binary, server, home / str(job)))
        begin = time.monotonic()
        counts = collections.Counter()
        faults, compared = [], []

        def one(i):
            if time.monotonic() - begin > arguments.seconds or len(faults) >= arguments.most_faults:
                return
            runner = runners.get()
            try:
                config = draw(i)
                fault, valid = fault_of(runner, config)
                counts["run"] += 1
                counts["valid"] += valid
                if fault is None and valid and len(compared) < arguments.jax:
                    for_reference = for_jax(schema, config)
                    if for_reference is not None:
                        compared.append(i)
                        errors = compare_jax.compare(binary, for_reference, "mixed", runner.directory)
                        bad = {n: e for n, e in errors.items() if not e <= 1e-7}
                        if bad:
                            fault = ("JAX differs", ("grad", "case.yaml"), str(bad))
                if fault is not None:
                    if fault[0] != "JAX differs":
                        config, fault = reduced(runner, config, fault)
                    faults.append(i)
                    kind, command, details = fault
                    print(f"config {i} of seed {arguments.seed}: {kind}\n{json.dumps(config)}\n"
                          f"mixflow {' '.join(str(c) for c in command)}\n{details}\n", flush=True)  # fmt: skip
            finally:
                runners.put(runner)

        with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
            list(pool.map(one, range(arguments.first, arguments.first + arguments.count)))
        seconds = time.monotonic() - begin
        print(f"{counts['run']} configs, {counts['valid']} valid"
              + (f", {len(compared)} compared with JAX" if arguments.jax else "")
              + f": {len(faults) or 'no'} fault{'s' if len(faults) != 1 else ''}; {seconds:.0f} s")  # fmt: skip
        return 1 if faults or not counts["valid"] else 0


if __name__ == "__main__":
    sys.exit(main())
