"""Catalogues say all that pages may say, and nothing else."""

import re

import pytest
from babel import Locale
from babel.messages.catalog import Message
from markdown_it import MarkdownIt

from tests.make.another_language import english_left
from tests.make.messages import catalogue_of, messages
from vd_forecasting.language import languages

LANGUAGES = languages()[1:]
SAID = {message if isinstance(message, str) else message[0]: message for message in messages()}
PLACE = re.compile(r"\{\w+\}|%\(\w+\)s")
CODE = re.compile(r"`[^`]+`")
CJK = re.compile(r"[\u4e00-\u9fff]")
OF_THE_MAINLAND = re.compile(
    "數據|質量|默認|信息|軟件|網絡|程序|文件|視頻|魯棒|缺省|打印|項目|優化"
)
"""Words that are written otherwise in Taiwan."""


def translations(language: str) -> list[Message]:
    return [message for message in catalogue_of(language) if message.id]


def forms(text: str | tuple[str, ...] | list[str] | None) -> list[str]:
    return [text] if isinstance(text, str) else list(text or ())


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_message_is_missing_left_over_or_unsure(language: str) -> None:
    found = {forms(message.id)[0]: message for message in translations(language)}
    assert SAID.keys() - found.keys() == set(), "missing: see tests/make/messages.py"
    assert found.keys() - SAID.keys() == set(), "nobody says it"
    assert not catalogue_of(language).obsolete
    for one, message in found.items():
        assert forms(message.id) == forms(SAID[one]), "one form, or one for each number"
        assert all(forms(message.string)), one
        assert not message.fuzzy, one


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_translation_has_the_places_code_and_ends_of_its_message(language: str) -> None:
    for message in translations(language):
        one, *many = forms(message.id)
        for text in forms(message.string):
            places = [set(PLACE.findall(form)) for form in (one, *many)]
            assert set(PLACE.findall(text)) in places, one
            assert sorted(CODE.findall(text)) == sorted(CODE.findall(one)), one
            for of_text, of_one in zip((text[:1], text[-1:]), (one[:1], one[-1:]), strict=True):
                assert (of_text == "\n") == (of_one == "\n"), one


@pytest.mark.parametrize("language", LANGUAGES)
def test_bold_words_are_bold_in_every_translation(language: str) -> None:
    """... though Markdown needs a space or a mark beside stars that stand next to a mark."""
    markdown = MarkdownIt("commonmark")
    for message in translations(language):
        bold = markdown.render(forms(message.id)[0]).count("<strong>")
        for text in forms(message.string):
            filled = PLACE.sub("字", text)
            assert markdown.render(filled).count("<strong>") == bold, text
            assert "**" not in markdown.render(filled), text


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_head_names_the_language_of_the_file(language: str) -> None:
    assert catalogue_of(language).locale == Locale.parse(language, sep="-")


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_date_is_written_with_a_name_that_python_knows_in_english_only(language: str) -> None:
    for message in translations(language):
        assert not re.search("%[aAbB]", "".join(forms(message.string))), message.id


def test_every_sentence_in_chinese_is_chinese_as_it_is_written_in_taiwan() -> None:
    for message in translations("zh-TW"):
        one = forms(message.id)[0]
        for text in forms(message.string):
            if len(english_left(PLACE.sub("", one))) > 1:
                assert CJK.search(text), one
            assert not OF_THE_MAINLAND.search(text), text
            assert not re.search(r"[\u4e00-\u9fff][,;:?!]|[\u4e00-\u9fff]\.(?!\w)", text), text
