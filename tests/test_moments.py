"""A moment has one text, wherever it is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bmslink.events import PackEvent
from bmslink.jsonable import plain
from bmslink.model import Reading
from bmslink.moments import iso, utc_now
from bmslink.outputs.alerts.message import alert_of, over_again
from bmslink.runtime.feed import FeedItem
from bmslink.runtime.history.query import HistoryAnswer
from bmslink.runtime.history.schema import from_millis, to_millis
from bmslink.storage.readings.rows import to_row

WHEN = datetime(2026, 1, 31, 6, 30, tzinfo=UTC)


@pytest.mark.parametrize("millis", [0, 1, 70, 999])
def test_one_text(millis: int) -> None:
    moment = WHEN + timedelta(milliseconds=millis)
    text = f"2026-01-31T06:30:00.{millis:03}Z"
    reading = Reading(time=moment, target="x", protocol="jbd")
    event = PackEvent("condition", "It is.", time=moment, key="k", since=moment)
    answer = HistoryAnswer("van", moment, moment, "raw", (), [(to_millis(moment),)]).to_dict()
    assert from_millis(to_millis(moment)) == moment
    assert {
        iso(moment),
        plain(moment),
        reading.to_dict()["time"],
        to_row(reading)["time"],
        FeedItem("reading", "van", moment, reading).to_dict()["time"],
        event.to_dict()["since"],
        alert_of(event).to_dict()["event"]["since"],
        answer["rows"][0][0],
        answer["since"],
        iso(datetime.fromtimestamp(moment.timestamp(), UTC)),  # as Prometheus keeps it
    } == {text}


def test_what_is_made_now_has_whole_milliseconds_and_what_comes_keeps_its_digits() -> None:
    assert all(utc_now().microsecond % 1000 == 0 for _ in range(100))
    assert PackEvent("x", "y").time.microsecond % 1000 == 0
    assert iso(WHEN + timedelta(microseconds=12)) == "2026-01-31T06:30:00.000012Z"


def test_an_alert_says_which_pack_how_bad_what_how_much_and_since_when() -> None:
    data = {"list": "protections", "condition": "cell_overvoltage", "value": 3.66, "unit": "V",
            "measured": "the highest cell has 3.66 V", "threshold": 3.65}  # fmt: skip
    text = "The BMS has tripped: cell overvoltage (the highest cell has 3.66 V)."
    event = PackEvent("condition", text, pack="van", time=WHEN, key="k", since=WHEN, data=data)
    begun = alert_of(event)
    assert begun.title == ("van: INFO: cell overvoltage, the highest cell has 3.66 V, limit 3.65 V")
    local = f"{WHEN.astimezone():%Y-%m-%d %H:%M:%S}"
    assert begun.text == f"van: {text} The limit is 3.65 V. Since {local}."
    over = over_again(event, event.over(WHEN + timedelta(seconds=181)))
    assert over.title == "van: gone again after 3 min: cell overvoltage"
    lost = PackEvent("lost", "There is no port /dev/x. Plug it in.", pack="van", time=WHEN)
    assert alert_of(lost).title == "van: INFO: There is no port /dev/x"
