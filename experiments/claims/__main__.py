#!/usr/bin/python3
"""Tests the claims of the field with the built program, and writes the table of what came out.

    ./run.sh claims                              # all, under an hour on two cores: notebooks-data/claims.md
    ./run.sh claims --quick                      # all, about a minute: build/claims-quick/claims.md
    python3 experiments/claims --only V3,E1      # some: replaces their rows in notebooks-data/claims.md
    python3 experiments/claims --only V3 --log   # and prints every call of the program

Exit code 0: every file ran, gave a verdict, and its figures lie in their bands. A refutation is a result, not a
fault. claims.py says how a file is written.
"""
import argparse
import concurrent.futures
import importlib
import json
import multiprocessing
import os
import pathlib
import platform
import re
import shutil
import sys
import tempfile
import time

FOLDER = pathlib.Path(__file__).resolve().parent
ROOT = FOLDER.parent.parent
sys.path.insert(0, str(FOLDER))
import claims  # noqa: E402

ORDER = [f"V{i}" for i in range(1, 18)] + [f"E{i}" for i in range(1, 11)]
KINDS = {claims.REPRODUCED: "reproduced", claims.DEPENDS: "depend on what their verdict names", claims.NOT_REPRODUCED: "not reproduced",
         claims.NOT_TESTABLE: "not testable on a CPU", claims.PENDING: "pending"}
AGAIN = " Tested again since, by `--only`: "
HEADER = ["#", "claim", "source: figure", "our figure", "verdict", "plot"]


def load():
    """Imports every claim file; each registers its number, which is that of its name."""
    for path in sorted(FOLDER.glob("[ve][0-9][0-9].py")):
        importlib.import_module(path.stem)
        number = path.stem[0].upper() + str(int(path.stem[1:]))
        if number not in claims.REGISTRY:
            sys.exit(f"claims: {path.name} does not define {number}")
    return sorted(claims.REGISTRY, key=ORDER.index)


def run_all(numbers, args, figures):
    """Rows of the claims, two processes at a time, those that take minutes first."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    rows, scratch = {}, tempfile.mkdtemp(prefix="fp8scope-claims-")
    fork = multiprocessing.get_context("fork")  # the modules are loaded already
    try:
        with concurrent.futures.ProcessPoolExecutor(args.jobs, mp_context=fork) as pool:
            jobs = [pool.submit(claims.execute, n, args.program, f"{scratch}/{n}", str(figures), args.quick)
                    for n in sorted(numbers, key=lambda n: not claims.REGISTRY[n].long)]
            for job in concurrent.futures.as_completed(jobs):
                row = job.result()
                rows[row["number"]] = row
                report(row, args.log)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return rows


def report(row, log):
    print(f"{row['number']:4} {row['seconds']:6.1f} s  {row['verdict']:24}  {row['ours']}", flush=True)
    if row["fault"]:
        print(f"     FAULT {row['fault']}", flush=True)
    if log:
        for line in row["log"]:
            print("     " + line)
        for name, (value, low, high) in row["numbers"].items():
            print(f"     {name}: {value:.5g}   (band {low:g} to {high:g})")


def cells(row):
    plot = f"[plot](figures/claims/{row['plot']})" if row["plot"] else ""
    texts = [row["number"], row["claim"], row["source"], row["ours"], row["verdict"], plot]
    return "| " + " | ".join(" ".join(t.replace("|", "\\|").split()) for t in texts) + " |"


def old(path):
    """({number: line}, last line) of a table that is there."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {m[1]: line for line in lines if (m := re.match(r"\| ([VE]\d+) \|", line))}, lines[-1] if lines else ""


def machine():
    """The processor's name and how many this process may use."""
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    return f"{model}, {len(os.sched_getaffinity(0))} processors"


def write(path, rows, args, seconds):
    lines, command = old(path) if args.only else ({}, "")
    lines |= {n: cells(r) for n, r in rows.items()}
    ordered = [lines[n] for n in ORDER if n in lines]
    verdicts = [re.split(r" (?<!\\)\| ", line)[4] for line in ordered]
    counts = {words: sum(v.startswith(kind) for v in verdicts) for kind, words in KINDS.items()}
    if args.only:  # the last line names the run of all, then which rows were made again
        before, _, again = command.partition(AGAIN)
        made = set(re.findall(r"[VE]\d+", again)) | set(rows)
        command = before + AGAIN + ", ".join(n for n in ORDER if n in made) + "."
    else:
        command = f"Command: `./run.sh claims{' --quick' * args.quick}`, {seconds:.0f} s with {args.jobs} processes. Machine: {machine()}."
    text = ["# Claims of the field, tested", "",
            "Written by `./run.sh claims` from the files of [experiments/claims](../experiments/claims): one file a claim, which says",
            "how it is tested and what counts as reproduced. V1 to V17 are of DeepSeek-V3 (arXiv:2412.19437) and *Insights into",
            "DeepSeek-V3* (arXiv:2505.09343), E1 to E10 experiments that go further. Every number is the program's.",
            f"{len(ordered)} claims: " + ", ".join(f"{n} {words}" for words, n in counts.items() if n) + ".", "",
            "| " + " | ".join(HEADER) + " |", "|---" * len(HEADER) + "|", *ordered, "", command, ""]
    path.write_text("\n".join(text))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="tests of seconds")
    parser.add_argument("--only", help="numbers, such as V3,E1")
    parser.add_argument("-o", "--output", help="folder of claims.md and figures/claims; default notebooks-data, or build/claims-quick")
    parser.add_argument("--program", default=str(ROOT / "build/release/fp8scope"))
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--json", help="also write every row, with its numbers and commands, to this file")
    parser.add_argument("--log", action="store_true", help="print every call of the program and every figure with its band")
    args = parser.parse_args()
    if not os.access(args.program, os.X_OK):
        sys.exit(f"claims: {args.program}: no such program; build it, or give --program")
    args.program = os.path.abspath(args.program)
    known = load()
    numbers = args.only.split(",") if args.only else known
    if unknown := [n for n in numbers if n not in known]:
        sys.exit(f"claims: {', '.join(unknown)}: no such claim; there are {', '.join(known)}")
    output = pathlib.Path(args.output) if args.output else ROOT / ("build/claims-quick" if args.quick else "notebooks-data")
    figures = output / "figures/claims"
    figures.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    rows = run_all(numbers, args, figures)
    write(output / "claims.md", rows, args, time.monotonic() - begin)
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps([rows[n] for n in numbers], indent=1))
    print(output / "claims.md")
    sys.exit(1 if any(r["fault"] for r in rows.values()) else 0)


if __name__ == "__main__":
    main()
