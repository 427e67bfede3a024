#!/usr/bin/env python3
"""Disks that fail and checkpoints that are damaged: a run must end with one message, and lose nothing that it has saved.

    scripts/fault_test.py [--faults 100] [--mutations 500] [--quick] [--seed S] [--binary FILE]

1. Storage faults: a full disk (ENOSPC), a failing one (EIO), a quota (EDQUOT) and a size limit (ulimit -f), each from a
   random moment on. The run must end with exit code 1 or 2 and one message; resumed without the fault it must end with
   the bytes of a run that nobody disturbed (resume_test.py says what is compared).
2. Mutated checkpoints (bits, cuts, zeroed pages, swapped tensors, metadata, another run's): each must be refused with
   exit code 2 and a remedy, which must work.
3. A file system without locks must be refused by name.

--quick: 12 faults, 60 mutations. Needs a C compiler and Python's standard library."""

import argparse
import errno
import json
import os
import pathlib
import random
import resource
import shutil
import subprocess
import sys
import tempfile

import resume_test
import tools

HERE = pathlib.Path(__file__).resolve().parent
ERRORS = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO, "EDQUOT": errno.EDQUOT}


def train(binary, config, run, *more, env=None, limit=None):
    def limited():
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    command = [binary, "train", config, "--out", run, "--quiet", "--threads", "1", *more]
    return subprocess.run(
        [str(c) for c in command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
        preexec_fn=limited,
    )


def check_message(done, codes, what):
    lines = done.stderr.strip().splitlines()
    if done.returncode not in codes or len(lines) != 1 or not lines[0].startswith("mixflow: "):
        sys.exit(f"{what}: exit code {done.returncode}, expected one of {codes} with one message:\n{done.stderr}")


def resumed_or_fresh(binary, config, run):
    """Continues what is there; a run that failed before it had a config.yaml begins anew."""
    more = ["--resume"] if (run / "config.yaml").exists() else []
    return train(binary, config, run, *more)


def storage_faults(binary, directory, described, count, rng):
    library = directory / "faults.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, HERE / "storage_faults.c", "-ldl"], check=True)
    ended = {}
    for number in range(count):
        title, (config, reference, calls) = rng.choice(list(described.items()))
        run = directory / f"fault{number}"
        kind = rng.choice([*ERRORS, "size limit"])
        if kind == "size limit":
            sizes = sorted(p.stat().st_size for p in reference.rglob("*") if p.is_file())
            done = train(binary, config, run, limit=rng.randrange(sizes[-1]))
        else:
            # Most faults lie within the run; the logarithm has the first calls, which make the directory, in it.
            after = int(calls ** rng.random()) - 1
            env = {
                "LD_PRELOAD": str(library),
                "FAULT_DIR": str(run),
                "FAULT_AFTER": str(after),
                "FAULT_ERRNO": str(ERRORS[kind]),
            }
            done = train(binary, config, run, env=env)
        what = f"{title}: {kind} in {run.name}"
        if done.returncode != 0:
            check_message(done, (1, 2), what)
        ended[done.returncode] = ended.get(done.returncode, 0) + 1
        if done.returncode != 0:
            again = resumed_or_fresh(binary, config, run)
            if again.returncode != 0:
                sys.exit(f"{what}: cannot be resumed: {again.stderr}")
        found = resume_test.differences(reference, run)
        if found:
            sys.exit(f"{what}: differs from the undisturbed run:\n" + "\n".join(found))
        shutil.rmtree(run)
    print(f"{count} storage faults: exit codes {ended}, all resumed to the same bytes", flush=True)


def mutate(data, header, kind, rng, other):
    data = bytearray(data)
    if kind == "bit":
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == "cut":
        del data[rng.randrange(len(data)):]
    elif kind == "longer":
        data += bytes(rng.randrange(1, 100))
    elif kind == "zeros":
        at = rng.randrange(len(data))
        end = min(len(data), at + rng.choice([64, 512, 4096]))
        data[at:end] = bytes(end - at)
    elif kind == "swap":  # two tensors of the same size, or the halves of the data
        start = 8 + int.from_bytes(data[:8], "little")
        half = (len(data) - start) // 2 // 4 * 4
        data[start:start + half], data[start + half:start + 2 * half] = (
            data[start + half:start + 2 * half], data[start:start + half])
    elif kind == "metadata":
        key = rng.choice(["step", "threads", "metrics_bytes", "eval_bytes", "events_bytes", "first_loss", "settings"])
        values = json.loads(bytes(data[8:8 + header]))
        values["__metadata__"][key] = rng.choice(["1", "4", "7", "0.25"])
        text = json.dumps(values, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        data = bytearray(len(text).to_bytes(8, "little") + text + data[8 + header:])
    elif kind == "other run":
        data = bytearray(other)
    return bytes(data)


def mutations(binary, directory, described, count, rng):
    kinds = ["bit", "bit", "bit", "cut", "longer", "zeros", "zeros", "swap", "metadata", "metadata", "other run"]
    refused = {}
    for number in range(count):
        title, (config, reference, _) = rng.choice(list(described.items()))
        run = directory / "mutated"
        shutil.copytree(reference, run)
        (run / "summary.json").unlink()
        newest, before = sorted((run / "checkpoints").glob("step-*"))[::-1][:2]
        newest.unlink()  # a run that was killed after `before`
        original = before.read_bytes()
        kind = rng.choice(kinds)
        other = sorted((directory / (reference.name + "-again") / "checkpoints").glob("step-*"))[-2].read_bytes()
        data = mutate(original, int.from_bytes(original[:8], "little"), kind, rng, other)
        if data != original:
            before.write_bytes(data)
            done = train(binary, config, run, "--resume")
            check_message(done, (2,), f"{title}: {kind}, number {number}")
            refused[kind] = refused.get(kind, 0) + 1
            if number % 10 == 0:  # what the message says to do
                before.unlink()
                done = train(binary, config, run, "--resume")
                found = [done.stderr] if done.returncode != 0 else resume_test.differences(reference, run)
                if found:
                    sys.exit(f"{title}: {kind}, deleted: " + "\n".join(found))
        shutil.rmtree(run)
    print(f"{sum(refused.values())} mutated checkpoints, all refused: {refused}", flush=True)


def without_locks(binary, directory, described):
    config, _, _ = next(iter(described.values()))
    for error in (errno.ENOLCK, errno.ENOTSUP, errno.EINVAL):
        env = {"LD_PRELOAD": str(directory / "faults.so"), "FAULT_FLOCK": str(error)}
        done = train(binary, config, directory / "nolocks", env=env)
        check_message(done, (2,), "a file system without locks")
        if "refuses to lock" not in done.stderr:
            sys.exit(f"a file system without locks: {done.stderr}")
    print("a file system without locks: refused by name", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    tools.add_binary(parser)
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--mutations", type=int, default=500)
    parser.add_argument("--quick", action="store_true", help="12 faults, 60 mutations")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    binary = tools.check_binary(arguments.binary)
    rng = random.Random(arguments.seed)
    faults, mutants = (12, 60) if arguments.quick else (arguments.faults, arguments.mutations)
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name).resolve()
        described = {}
        for title, config in resume_test.configs(directory, 120).items():
            file = directory / (title.replace(", ", "-").replace(" ", "_") + ".yaml")
            tools.write_config(file, config)
            reference = directory / file.stem
            for run in (reference, directory / (file.stem + "-again")):
                done = train(binary, file, run)
                if done.returncode != 0:
                    sys.exit(f"{title}: the undisturbed run failed: {done.stderr}")
            # Each checkpoint takes about ten calls that write.
            calls = 30 + 10 * config["meta"]["steps"] // config["meta"]["checkpoint_every"]
            described[title] = (file, reference, calls)
        storage_faults(binary, directory, described, faults, rng)
        mutations(binary, directory, described, mutants, rng)
        without_locks(binary, directory, described)
    print("nothing was lost and nothing damaged was taken")


if __name__ == "__main__":
    main()
