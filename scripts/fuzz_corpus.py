#!/usr/bin/env python3
"""Seeds of the fuzz targets, from the good and bad inputs of the tests: OUT/<target>/<n>.

Usage: scripts/fuzz_corpus.py OUT
"""
import io
import json
import pathlib
import re
import struct
import sys
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent


def configs():
    for folder in ("configs", "configs/published", "tests/errors"):
        for path in sorted((ROOT / folder).glob("*.yaml")):
            yield path.read_bytes()


def sweeps():
    for path in sorted((ROOT / "configs/sweeps").glob("*.yaml")):
        yield re.sub(rb"base: \S+", b"base: c.yaml", path.read_bytes())
    for axes in ("grid: {inner.steps: [1, 2]}", "zip: {inner.steps: [1, 2], meta.batch: [1, 3]}",
                 "list: [{inner.steps: 2}, {meta.batch: 1}]", "seeds: [1, 2]",
                 "random: {samples: 3, seed: 1, inner.optimizer.lr: {log_uniform: [0.1, 10]}}",
                 "grid: {inner.steps: [1, 2]}\nwhen: [steps > 1, not steps in [3]]\nmemory: 2GiB"):
        yield f"base: c.yaml\nset: {{meta.steps: 2}}\n{axes}\n".encode()


def texts_of(test, calls):
    """The string arguments of these functions in a test."""
    source = (ROOT / test).read_text()
    for match in re.finditer(rf'\b(?:{"|".join(calls)})\("((?:[^"\\]|\\.)*)"', source):
        yield match.group(1).encode().decode("unicode_escape").encode("latin-1", "replace")


def overrides():
    yield b"inner.steps=10\nmeta.parameters[1].granularity=per_parameter"
    yield b"data={kind: sinusoid}\nmodel={kind: mlp, hidden: [8, 8]}\nmeta.parameters=[{kind: init}]"
    yield b"gradient.remat={step: true}\ngradient.preset=fastest\ninner.optimizer.lr=.inf"
    yield b"a.b.c[0].d=[1, {x: *y}]\nthreads=100000\nmeta.parameters.7.kind=lr"
    for file in sorted((ROOT / "tests").glob("*/*_test.cpp")):
        for match in re.finditer(r'"([a-z_]+\.[a-z_.\[\]0-9]+=[^"\\]*)"', file.read_text()):
            yield match.group(1).encode()


def npy(descr, shape, data, version=(1, 0), fortran=False):
    header = f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}"
    size = struct.pack("<H" if version[0] == 1 else "<I", len(header) + 1)
    return b"\x93NUMPY" + bytes(version) + size + header.encode() + b"\n" + data


def arrays():
    yield npy("<f4", "(2, 3)", struct.pack("<6f", *range(6)))
    yield npy("<f8", "(3,)", struct.pack("<3d", 1, float("nan"), 3))
    yield npy("|u1", "(2, 2)", bytes(4), fortran=True)
    yield npy("<i8", "()", struct.pack("<q", 7), version=(2, 0))
    yield npy("|b1", "(3,)", b"\x00\x01\x02", version=(3, 0))
    yield npy(">i2", "(2,)", b"\0\1\0\2")
    yield npy("<f2", "(2, 1)", b"\0\x3c\0\x40")
    yield npy("<V2", "(2,)", b"\x80\x3f\0\x40")
    yield npy("<U3", "(2,)", "abcdef".encode("utf-32-le"))
    yield npy("|S2", "(2,)", b"abcd")
    yield npy("|O", "(1,)", b"x")
    yield npy("<f4", "(4611686018427387904, 4)", b"")
    yield npy("<f4", "(2, 3)", b"short")


def archives():
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        for array in arrays():
            out = io.BytesIO()
            with zipfile.ZipFile(out, "w", method) as archive:
                archive.writestr("y.npy", b"another")
                archive.writestr("x.npy", array)
            yield out.getvalue()


def tables():
    yield b"u,v,t\n1,2,0\n3,4.5,1\n-1e3,.5,2\n"
    yield b'1;2,5;"a ""b"""\r\n3;4,5;c\r\n'
    yield b"\xef\xbb\xbfa\tb\n1\t2\n\n3\tNA\n"
    yield "a,b\n1,2\n".encode("utf-16")
    yield b'"x,y",z\n1,2\n1\n'
    yield b'"open\n1,2\n'
    yield b",a\n0,1\n1,2\n"


def safetensors(tensors, metadata=None):
    header, data = {}, b""
    if metadata:
        header["__metadata__"] = metadata
    for name, kind, shape, content in tensors:
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


# The inputs of small_run.h.
MODEL = {"embed": [8, 2], "blocks.norm1": [1, 2], "blocks.wq": [1, 2, 2], "norm": [2], "head": [2, 8]}
CHECKPOINT = {"format": "mixflow-checkpoint-2", "step": "1", "wall_s": "0.5", "threads": "1", "metrics_bytes": "0",
              "eval_bytes": "0", "events_bytes": "0", "first_loss": "2"}


def tensor_files():
    eight = struct.pack("<8f", *range(8))
    yield safetensors([("w", "F32", [2, 4], eight), ("n", "I64", [1], bytes(8)), ("s", "F64", [], bytes(8))],
                      {"made": "elsewhere"})
    for kind, size in (("F16", 2), ("BF16", 2), ("I8", 1), ("U8", 1), ("I16", 2), ("U16", 2), ("U32", 4), ("U64", 8),
                       ("BOOL", 1), ("C64", 8), ("I32", 4)):
        yield safetensors([("w", kind, [3], bytes(3 * size))])
    yield safetensors([("empty", "F32", [0, 7], b"")])
    yield struct.pack("<Q", 1 << 60) + b"{}"
    yield safetensors([])
    yield struct.pack("<Q", 16) + b'{"w":{"x":[[[[[]'


def inputs():
    weights = [(f"theta.{name}", "F32", shape, bytes(4 * product(shape))) for name, shape in MODEL.items()]
    rates = [(f"eta.lr.{name}", "F32", [], struct.pack("<f", 0.1)) for name in MODEL]
    tokens = [("data.inner.tokens", "I32", [1, 1, 1, 4], struct.pack("<4i", 0, 7, 8, -1)),
              ("data.outer.tokens", "I32", [1, 1, 4], struct.pack("<4i", *range(4)))]
    yield safetensors(weights + rates + tokens)
    yield safetensors(tokens)
    yield safetensors(rates[:1] + [("meta_grad.lr.embed", "F32", [], bytes(4)), ("outer_loss", "F32", [1], bytes(4))])
    yield safetensors([("0.weight", "F32", [8, 2], bytes(64)), ("0.bias", "U8", [1], b"x")])
    yield safetensors([(tokens[1][0], "I64", [1, 1, 4], struct.pack("<4q", 1 << 40, 0, 0, 0))])


def product(shape):
    result = 1
    for size in shape:
        result *= size
    return result


def checkpoints():
    recent = [("recent_losses", "F64", [1], struct.pack("<d", 2))]
    state = [(f"eta.lr.{name}", "F32", [], struct.pack("<f", 0.1)) for name in MODEL]
    yield safetensors(recent + state, CHECKPOINT)
    yield safetensors(recent, CHECKPOINT | {"step": "-1", "wall_s": "x"})
    yield safetensors(state, {"format": "other"})


def records():
    return [
        {"time": "2026-11-25T08:00:00Z", "point": "a", "state": "queued"},
        {"point": "a", "state": "running", "attempt": 1, "host": "h", "boot": "b", "pid": 7, "child": 8, "heartbeat": 0,
         "cpus": [0], "threads": 1, "process_bytes": 70000000, "scope": "s"},
        {"point": "a", "state": "done", "attempt": 1, "seconds": 3.2, "loss": 0.25, "split": "test"},
        {"point": "a", "state": "failed", "attempt": 2147483647, "kind": "memory", "reason": ["x"]},
        {"point": "a", "state": "skipped", "reason": "no room"},
    ]


def ledgers():
    lines = [json.dumps(record) for record in records()]
    yield "\n".join(lines).encode() + b"\n"
    for line in lines:
        yield line.encode() + b"\n"


def claims():
    yield b'{"host":"a","boot":"b","pid":7}\n'
    yield b'{"host":1,"boot":["x"],"pid":"7"}\n'
    yield b"[[[["
    yield b""


def points():
    good = {"id": "lr=0.1-0123456789ab", "settings": {"inner.optimizer.lr": "0.1"}, "threads": 1, "bf16": False,
            "own_threads": False, "meta_steps": 3, "static_bytes": 10, "dynamic_bytes": 20, "process_bytes": 30,
            "data_bytes": 0, "flop": 40, "config": "data: {kind: sinusoid}\n"}
    yield json.dumps(good).encode()
    for key in good:
        yield json.dumps(good | {key: ["x"]}).encode()
    yield json.dumps(good | {"id": "../x"}).encode()


TARGETS = {
    "config": configs, "override": overrides, "npy": arrays, "npz": archives, "csv": tables,
    "when": lambda: texts_of("tests/sweep/expression_test.cpp", ("holds", "error")),
    "safetensors": tensor_files, "grad_in": inputs, "checkpoint": checkpoints, "ledger": ledgers, "claim": claims,
    "point": points, "sweep": sweeps,
}


def main():
    out = pathlib.Path(sys.argv[1])
    for target, seeds in TARGETS.items():
        folder = out / target
        folder.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(seeds()):
            (folder / str(number)).write_bytes(seed)


if __name__ == "__main__":
    main()
