"""The ratios as a Markdown table, at the end of the run."""

from typing import Any

import pytest


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    session = getattr(config, "_benchmarksession", None)
    infos = [b.extra_info for b in session.benchmarks if b.extra_info] if session else []
    if not infos:
        return
    keys = list(infos[0])
    rows = [keys, ["---"] * len(keys)]
    rows += [[f"{v:.3g}" if isinstance(v, float) else str(v) for v in i.values()] for i in infos]
    terminalreporter.section("vanilla / fused")
    for row in rows:
        terminalreporter.write_line("| " + " | ".join(row) + " |")
