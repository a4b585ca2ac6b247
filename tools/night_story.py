"""What the outputs of a night say, compared with the readings as they were published."""

from __future__ import annotations

import csv
import http.client
import io
import json
import shutil
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from bmslink.control.backtest.logs import Log
from bmslink.moments import iso

if TYPE_CHECKING:
    from night import Night

__all__ = ["compare"]

VALUES = ("voltage", "current", "soc", "min_cell_voltage", "max_cell_voltage", "remaining_capacity")
METRICS = {"bmslink_pack_voltage_volts": "voltage", "bmslink_pack_current_amperes": "current"}
STAMP = "bmslink_pack_reading_timestamp_seconds"
KEY = "protections/cell_overvoltage"
LONGEST = 15.0
"""s between two readings that are counted."""
Truth = Mapping[str, Mapping[str, Any]]
"""Time -> the reading."""


def get(port: int, path: str, token: str = "") -> tuple[int, bytes]:
    """What a server on this machine answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={"authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def compare(night: Night, server: int | None) -> list[str]:
    """What differs, in sentences."""
    truth = {each["time"]: each for each in _lines(night.folder / "truth.jsonl")}
    span = ("--since", "2026-01-31T21:00Z", "--until", "2026-02-01T07:00Z")
    energy = night.run(
        "history", "van", *span, "--csv", "--resolution", "minute", "--field", "energy"
    )
    counted = [*csv.DictReader(io.StringIO(energy))]
    rows = [
        *csv.DictReader(
            io.StringIO(night.run("history", "van", *span, "--csv", "--resolution", "raw"))
        )
    ]
    print(f"{len(truth)} readings, {len(rows)} rows of history, {len(counted)} minutes")
    found = [*_history(truth, rows), *_energy(truth, counted), *_alerts(night, span)]
    for end in ("csv", "jsonl", "jsonl.gz", "db", "parquet"):
        found += _log(truth, night.folder / f"log.{end}")
    found += _promtool(night)
    return found + ([] if server is None else [*_metrics(truth, counted, server)])


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text().splitlines():
        if line.endswith("}"):
            yield json.loads(line)


def _history(truth: Truth, rows: list[dict[str, str]]) -> Iterator[str]:
    for row in rows:
        reading = truth.get(row["time"])
        if reading is None:
            yield f"history has a row of {row['time']}, when nothing was read"
        elif wrong := [n for n in VALUES if row[n] != str(reading[n])]:
            yield f"history at {row['time']}: {[(n, row[n], reading[n]) for n in wrong]}"
    missing = sorted(truth.keys() - {row["time"] for row in rows})
    if missing and _seconds(missing[0], missing[-1]) > 65:
        yield f"history lacks {len(missing)} rows from {missing[0]} to {missing[-1]}"
    print(f"  {len(missing)} readings were lost by the kill")


def _seconds(first: str, last: str) -> float:
    return (datetime.fromisoformat(last) - datetime.fromisoformat(first)).total_seconds()


def _energy(truth: Truth, counted: list[dict[str, str]]) -> Iterator[str]:
    """What flowed, by another sum; the kill may cost a minute."""
    if any("" in row.values() for row in counted):
        yield f"minutes without energy: {[r['time'] for r in counted if '' in r.values()]}"
        return
    flowed: Counter[str] = Counter()
    times = sorted(truth)
    for one, two in pairwise(times):
        step = _seconds(one, two)
        if step <= LONGEST:
            amps = (truth[one]["current"] + truth[two]["current"]) / 2
            flowed["charged_capacity" if amps > 0 else "discharged_capacity"] += (
                abs(amps) * step / 3600
            )
    for name, true in flowed.items():
        got = float(counted[-1][name])
        if abs(got - true) > 0.001 * true + 12 * 65 / 3600:
            yield f"{name}: {got}, and by another sum {true:.6f}"
        print(f"  {name}: {got}, by another sum {true:.6f}")


def _alerts(night: Night, span: tuple[str, ...]) -> Iterator[str]:
    told = [json.loads(line) for line in night.run("events", *span, "--json").splitlines()]
    faults = [each for each in told if each["key"] == KEY]
    sent = [each for each in night.hook.sent("/") if each["event"]["key"] == KEY]
    begun = {each["event"]["since"]: each for each in sent if each["state"] == "begun"}
    over = {each["event"]["since"]: each for each in sent if each["state"] == "over"}
    print(f"  {len(faults)} faults, {len(sent)} alerts by webhook")
    if len(faults) != 2 or begun.keys() != over.keys() or len(sent) not in (4, 5):
        yield f"faults and alerts: {faults} {[(s['state'], s['title']) for s in sent]}"
    for fault in faults:
        for alert in (begun.get(fault["since"]), over.get(fault["since"])):
            if alert is None:
                yield f"the fault of {fault['since']} was not sent with this time"
        ended = over.get(fault["since"], {"event": {}})["event"]
        for name in ("since", "until", "until_known", "unseen_seconds"):
            if ended.get(name) != fault.get(name):
                yield f"{name}: {ended.get(name)} was sent, {fault.get(name)} is stored"
        print(f"  fault {fault['since']} to {fault['until']}: {over[fault['since']]['title']}")
    app = [each["title"] for each in night.hook.sent("/app")]
    titles = {each["title"] for each in sent}
    print(f"  {len(app)} alerts by apprise")
    if "/app" in night.receivers and titles != set(app):
        yield f"apprise was sent {app}, the webhook {titles}"
    shown = night.run("events", *span, "--severity", "alarm")
    if shown.count("cell overvoltage") != 2:
        yield f"events shows: {shown}"


def _log(truth: Truth, path: Path) -> Iterator[str]:
    if not path.exists():
        return
    number = 0
    for entry in Log(path):
        number += 1
        reading = entry.reading.to_dict()
        known = truth.get(reading["time"])
        if known is None or any(
            reading[name] != known[name] for name in (*VALUES, "cell_voltages")
        ):
            yield f"{path.name} at {reading['time']}: {reading}"
    if number < 5:
        yield f"{path.name} has {number} readings only"
    print(f"  {path.name}: {number} readings")
    if path.suffix == ".csv":
        with path.open() as file:
            times = {row["time"] for row in csv.DictReader(file)}
    elif path.suffix == ".db":
        times = {time for (time,) in sqlite3.connect(path).execute("SELECT time FROM readings")}
    elif path.suffix == ".parquet":
        import duckdb

        rows = duckdb.execute("SELECT epoch_ms(time) FROM read_parquet(?)", [str(path)]).fetchall()
        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        times = {iso(epoch + timedelta(milliseconds=ms)) for (ms,) in rows}
    else:
        return
    if strange := times - truth.keys():
        yield f"{path.name} has times that nothing else has: {sorted(strange)[:3]}"


def _promtool(night: Night) -> Iterator[str]:
    token = (night.folder / "token").read_text().strip()
    _, text = get(night.port, "/metrics", token)
    promtool = shutil.which("promtool")
    if promtool is not None:
        done = subprocess.run(
            [promtool, "check", "metrics"], input=text, capture_output=True, check=False
        )
        if done.returncode or done.stdout or done.stderr:
            yield f"promtool: {done.stdout.decode()} {done.stderr.decode()}"


def _asked(server: int, query: str) -> list[dict[str, Any]]:
    """What Prometheus has of a query."""
    _, text = get(server, f"/api/v1/query?{urlencode({'query': query})}")
    found: list[dict[str, Any]] = json.loads(text)["data"]["result"]
    return found


def _metrics(truth: Truth, counted: list[dict[str, str]], server: int) -> Iterator[str]:
    (stamps,) = _asked(server, f"{STAMP}[1h]")
    heard = {at: iso(datetime.fromtimestamp(float(v), UTC)) for at, v in stamps["values"]}
    for metric, name in METRICS.items():
        (series,) = _asked(server, f"{metric}[1h]")
        for at, value in series["values"]:
            reading = truth.get(heard[at])
            if reading is None or float(value) != reading[name]:
                yield f"{metric} at {heard[at]}: {value}, and it was {reading and reading[name]}"
        print(f"  {metric}: {len(series['values'])} scrapes")
    for direction, field in (("charge", "charged_energy"), ("discharge", "discharged_energy")):
        (last,) = _asked(server, f'bmslink_energy_joules_total{{direction="{direction}"}}')
        got = round(float(last["value"][1]) / 3600, 6)
        if got != float(counted[-1][field]):
            yield f"{field}: {got} in metrics, {counted[-1][field]} in the history"
