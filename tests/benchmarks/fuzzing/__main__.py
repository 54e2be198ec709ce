"""Reads changed inputs by every reader: ``python -m tests.benchmarks.fuzzing``."""

import argparse
import sys
from pathlib import Path

from tests.benchmarks.fuzzing.campaign import TARGETS, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.fuzzing", description=__doc__)
    parser.add_argument("--inputs", type=int, default=200, help="of each reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--keep", type=Path, help="folder for the inputs that are findings")
    parser.add_argument("readers", nargs="*", metavar="reader", help="all by default")
    given = parser.parse_args()
    if unknown := {*given.readers} - {*TARGETS}:
        parser.error(f"no reader {min(unknown)!r}; there are {', '.join(TARGETS)}")
    numbers = range(given.first, given.first + given.inputs)
    findings = 0
    for name in given.readers or TARGETS:
        result = run(TARGETS[name], given.seed, numbers, given.keep)
        findings += len(result.findings)
        sys.stdout.write(f"{result}\n")
        sys.stdout.flush()
    return min(findings, 1)


if __name__ == "__main__":
    sys.exit(main())
