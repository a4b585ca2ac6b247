"""A picture as one HTML file that needs nothing else: uPlot is in it, and it asks nobody.

Everything from outside is in one block of JSON in which no character can end a script; the page
puts it in as text. A policy in the file (CSP) lets these very scripts run and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any

from bmslink import __version__
from bmslink.moments import iso
from bmslink.reports.pictures.picture import Curve, Lane, Panel, Picture
from bmslink.reports.pictures.svg import escaped

__all__ = ["asset", "integrity", "picture_html"]

_MILLIS = 3
"""Digits of a second."""


def picture_html(picture: Picture) -> str:
    """The whole page."""
    uplot, page = asset("uplot.js").strip(), asset("page.js")
    sharp = (
        'const ratio = devicePixelRatio; Object.defineProperty(window, "devicePixelRatio", '
        "{ configurable: true, get: () => Math.max(2, ratio) });"
    )  # canvases are sharp on paper too
    style = f"{asset('uplot.css')}\n{asset('page.css')}"
    scripts = " ".join(integrity(each) for each in (sharp, uplot, page))
    policy = (
        f"default-src 'none'; script-src {scripts}; style-src {integrity(style)}; "
        "base-uri 'none'; form-action 'none'"
    )
    notes = "".join(f'<p class="hint">{escaped(note)}</p>' for note in picture.notes)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="generator" content="bmslink {escaped(__version__)}">\n'
        f"<title>{escaped(picture.title)}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        f'<header><h1>{escaped(picture.title)}</h1><p id="span"></p>'
        '<p class="hint">Drag over a chart to zoom, double-click to see the whole time; click a '
        "name in a legend to hide its curve.</p>"
        f'{notes}<div id="controls"></div></header>\n<main id="panels"></main>\n'
        f'<div id="list"></div>\n<footer>Made by bmslink {escaped(__version__)} at '
        f"{escaped(iso(picture.made))}. A gap in a curve is time without readings."
        "<noscript> The charts need JavaScript.</noscript></footer>\n"
        f'<script type="application/json" id="data">{_embedded(_plain(picture))}</script>\n'
        f"<script>{sharp}</script>\n<script>{uplot}</script>\n<script>{page}</script>\n"
        "</body>\n</html>\n"
    )


def asset(name: str) -> str:
    """A file that comes with this package."""
    return (files("bmslink.reports.pictures") / "assets" / name).read_text(encoding="utf-8")


def integrity(text: str) -> str:
    """How a policy names a script or style by what is in it."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _embedded(values: Any) -> str:
    """JSON that is safe inside a script element: nothing in it can end one or begin a comment."""
    text = json.dumps(values, allow_nan=False, separators=(",", ":"), ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _plain(picture: Picture) -> dict[str, Any]:
    lines: dict[int, int] = {}
    timelines: list[list[int | None]] = []
    for panel in picture.panels:
        for curve in panel.curves:
            if id(curve.timeline) not in lines:
                lines[id(curve.timeline)] = len(timelines)
                timelines.append([*_steps(curve.timeline.times, _MILLIS)])
    return {
        "title": picture.title,
        "start": picture.start,
        "end": picture.end,
        "dated": picture.dated,
        "packs": [*picture.packs],
        "cells": picture.cells,
        "timelines": timelines,
        "panels": [_panel(panel, lines) for panel in picture.panels],
        "lanes": [_lane(lane) for lane in sorted(picture.lanes, key=_worst_first)],
        "markers": [[round(m.time, 3), m.text, m.severity.value, m.pack] for m in picture.markers],
    }


def _panel(panel: Panel, lines: dict[int, int]) -> dict[str, Any]:
    return {
        "title": panel.title,
        "unit": panel.unit,
        "digits": panel.digits,
        "zero": panel.zero,
        "least": panel.least,
        "pack": panel.pack,
        "view": panel.view,
        "limits": [{"title": each.title, "value": each.value} for each in panel.limits],
        "curves": [_curve(curve, panel.digits, lines) for curve in panel.curves],
    }


def _curve(curve: Curve, digits: int, lines: dict[int, int]) -> dict[str, Any]:
    return {
        "title": curve.title,
        "line": lines[id(curve.timeline)],
        "limit": curve.limit,
        "values": [*_steps(curve.values, digits)],
    }


def _steps(values: Sequence[float | None], digits: int) -> Iterator[int | None]:
    """Whole numbers of the last digit shown, each as its distance to the one before: short."""
    unit, last = 10**digits, 0
    for value in values:
        if value is None or not math.isfinite(value):
            yield None
        else:
            whole = round(value * unit)
            yield whole - last
            last = whole


def _lane(lane: Lane) -> dict[str, Any]:
    return {
        "title": lane.title,
        "pack": lane.pack,
        "severity": lane.severity.value,
        "rank": lane.severity.rank,
        "bands": [
            [round(b.start, 3), round(b.end, 3), b.text if b.text != lane.title else "", b.lasting]
            for b in lane.bands
        ],
    }


def _worst_first(lane: Lane) -> tuple[int, str, str]:
    return -lane.severity.rank, lane.pack, lane.title
