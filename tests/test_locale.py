"""Text files are UTF-8 where that is not the locale's encoding."""

from pathlib import Path

from tests.make.arrays import make_clean
from tests.make.exports import write_long_csv
from tests.make.projects import SMALL, copy_of_the_project, run

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def test_every_page_is_written_and_read_in_a_locale_that_is_not_utf8(tmp_path: Path) -> None:
    folder = copy_of_the_project(tmp_path)
    write_long_csv(folder / "table.csv", make_clean(700, vds=3))
    source = "source_file=table.csv"
    run(folder, "--pipeline", "ingest", "--env", "long_table", params=source, **ASCII)
    run(folder, "--pipeline", "compare_single_vd", **ASCII)
    run(folder, "--pipeline", "compare_single_vd", "--only-stale-outputs", "--dry-run", **ASCII)
    reports = folder / "data" / "08_reporting"
    pages = [path.read_text("utf-8") for path in reports.rglob("*.md")]
    assert len(pages) == 5
    assert all("\ufffd" not in page for page in pages)
    assert sum("±" in page or "–" in page or "×" in page for page in pages) > 1
    assert "▸" in run(folder, "--namespace", "single_vd_lstm", params=SMALL)
