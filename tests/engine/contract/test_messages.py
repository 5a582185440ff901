"""Every code that can reach an artist has words, and no words stand for a code that does not exist."""

from __future__ import annotations

import pytest

from stereodiff_blender.engine.contract import ERROR_CODES, WARNING_CODES, messages


@pytest.mark.parametrize("code", sorted(ERROR_CODES | WARNING_CODES))
def test_every_code_is_explained_in_sentences(code):
    explanation = messages.explain(code)
    for text in (explanation.sentence, explanation.remedy):
        assert text[0].isupper() and text.endswith("."), text
    assert explanation.sentence != explanation.remedy


def test_no_explanation_is_left_over():
    assert set(messages.ERRORS) == ERROR_CODES
    assert set(messages.WARNINGS) == WARNING_CODES


def test_no_code_speaks_programmers_language():
    everything = [text for code in ERROR_CODES | WARNING_CODES
                  for text in (messages.explain(code).sentence, messages.explain(code).remedy)]
    for word in ("exception", "traceback", "stderr", "null", "errno", "subprocess"):
        assert not [text for text in everything if word in text.lower()]


def test_an_unknown_code_is_refused():
    with pytest.raises(KeyError):
        messages.explain("no_such_code")
