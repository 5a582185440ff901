"""The list of jobs in a .blend from anywhere: whatever its items say, it is read."""

from __future__ import annotations

import pytest


@pytest.fixture
def item(settings):
    return settings.jobs.add()


@pytest.mark.parametrize(("text", "shots"), [
    ("1-2 3-3 4-6", ((1, 2), (3, 3), (4, 6))), ("", ()), ("abc", ()), ("-5-3", ()), ("0-4", ()), ("7-4", ()),
    ("1-2-3 5-6", ((5, 6),)), ("1-2 x 9-", ((1, 2),)), ("1-99999999999999999999", ()), ("\u0661-\u0662", ()),
    ("3-4 " * 100_000, ((3, 4),) * 500),
])
def test_shots_of_any_text(addon, item, text, shots):
    item.shots = text
    assert addon.session.job_list.shots_of(item) == shots


def test_a_status_of_any_text(addon, item):
    item.state, item.code, item.message = "failed", "dance", "m" * 100_000
    status = addon.session.job_list.status_of(item)
    assert (status.state, status.code, len(status.message)) == ("failed", "internal_error", 2000)
    item.code, item.message = "", ""
    status = addon.session.job_list.status_of(item)
    assert (status.code, status.message) == (None, None)
