"""Fuzzing of every reader: ``python -m tests.benchmarks.fuzzing --inputs 1000 --seed 1``.

Valid small inputs of each kind are changed, in their bytes and in what they mean, and read as Kedro
reads them. An input is either refused by one line that names the file, or it gives what satisfies
the contract of its kind, and nothing of it is lost without a note. Anything else is a finding: a
traceback, a warning, a crash, more than 10 s or 1.5 GB. The same seed makes the same inputs.
"""
