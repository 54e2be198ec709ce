"""Which language is spoken, and what is said in it."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.make.another_language import greek
from vd_forecasting import language
from vd_forecasting.language import (
    closed_up,
    languages,
    letters,
    say,
    say_many,
    speaking,
    spoken,
)
from vd_forecasting.rendering.markdown import plain_text
from vd_forecasting.wording import ahead_ranges


def test_english_is_spoken_where_nobody_asks_for_another_language() -> None:
    assert spoken() == "en"
    assert say("{number} min", number=5) == "5 min"
    assert letters() == set()


def test_another_language_is_spoken_for_as_long_as_it_is_asked_for() -> None:
    with speaking("zh-TW"):
        assert say("{number} min", number=5) == "5 分鐘"
        with speaking("en"):
            assert say("{number} min", number=5) == "5 min"
        assert say("{number} min", number=5) == "5 分鐘"
    assert say("{number} min", number=5) == "5 min"


def test_an_error_ends_it() -> None:
    with pytest.raises(ZeroDivisionError), speaking("zh-TW"):
        1 / 0  # noqa: B018
    assert spoken() == "en"


def test_a_thread_speaks_what_it_was_told_to() -> None:
    def of_a_thread(language: str) -> str:
        with speaking(language):
            return say("persistence")

    with speaking("zh-TW"), ThreadPoolExecutor(2) as threads:
        assert threads.submit(spoken).result() == "en"
        assert [*threads.map(of_a_thread, ["en", "zh-TW"])] == ["persistence", "持續性預測"]


def test_a_message_that_the_catalogue_lacks_is_said_in_english() -> None:
    with speaking("zh-TW"):
        assert say("Nobody says {this}.", this="that") == "Nobody says that."


def test_a_language_has_as_many_forms_as_it_needs(tmp_path: Path) -> None:
    def days(number: int) -> str:
        return say_many("{number} day", "{number} days", number, number=number)

    assert [days(1), days(2)] == ["1 day", "2 days"]
    with speaking("zh-TW"):
        assert [days(1), days(2)] == ["1 天", "2 天"]
    with greek(tmp_path) as report, speaking(report.language):
        assert [days(1), days(2)] == ["1 δαυ", "2 δαυσ"]


def test_values_are_put_in_as_they_are() -> None:
    assert say("{name}.", name="{brace} %(x)s") == "{brace} %(x)s."
    assert say("{braces} stay without values") == "{braces} stay without values"


@pytest.mark.parametrize(
    ("text", "closed"),
    [
        ("平均速率 與 佔有率", "平均速率與佔有率"),
        ("LSTM 與 xLSTM", "LSTM 與 xLSTM"),
        ("第 12 步。 LSTM", "第 12 步。LSTM"),
        ("VD-1 （共 3 個）", "VD-1（共 3 個）"),
        ("- （空）\n# 「題」\n| （一） | 二 |", "- （空）\n# 「題」\n| （一） | 二 |"),
        ("`國道 一號` 的 流量", "`國道 一號` 的流量"),
        ("xLSTM보다 더 낫다", "xLSTM보다 더 낫다"),
    ],
)
def test_wide_characters_have_no_spaces_between_and_wide_marks_none_beside_them(
    text: str, closed: str
) -> None:
    with speaking("zh-TW"):
        assert closed_up(text) == closed
    assert closed_up(text) == text


def test_a_name_of_somebody_else_keeps_its_spaces() -> None:
    name = "國道五號 雪山隧道"
    assert plain_text(name) == name
    with speaking("zh-TW"):
        said = say("On {features} the test days are too few for a verdict: {days}.",
                   features=plain_text(name), days="3")  # fmt: skip
        assert "國道五號\N{NO-BREAK SPACE}雪山隧道" in closed_up(said)


def test_a_language_may_write_a_unit_without_a_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = 'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=utf-8\\n"\n\n'
    (tmp_path / "ja.po").write_text(
        f'{head}msgid "{{number}} min"\nmsgstr "{{number}}分"\n', "utf-8"
    )
    monkeypatch.setattr(language, "FOLDER", tmp_path)
    with speaking("ja"):
        assert ahead_ranges([1, 2, 3], 5.0) == "5 to 15分 ahead (steps 1 to 3)"


def test_languages_are_those_with_a_file(tmp_path: Path) -> None:
    assert {"en", "zh-TW"} <= set(languages())
    with greek(tmp_path):
        assert languages() == ["en", "eo"]
