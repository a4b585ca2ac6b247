"""Pictures of packs over time: from logs, captures and histories, for a terminal or as a file.

```python
from bmslink.reports import pictures

sources = pictures.Sources()
sources.add_file(Path("week.parquet"))
picture = pictures.make_picture([*sources.tracks.values()])
Path("week.html").write_text(pictures.picture_html(picture))
```

* `Sources` gathers readings pack by pack, in bounded memory; `Track.hear` takes readings from
  anywhere else.
* `gather` does it for sources as the command line names them, packs of a running service too.
* `make_picture` makes a `Picture` of them: panels of curves, lanes of what came and went, markers.
* `picture_html`, `picture_svg` and `picture_lines` write it. They are pure.

A gap in the readings is a gap in every curve, and what is not known is never drawn as 0.
"""

from __future__ import annotations

from bmslink.reports.pictures.gathering import gather
from bmslink.reports.pictures.page import picture_html
from bmslink.reports.pictures.panels import QUANTITIES, Limits, make_picture
from bmslink.reports.pictures.picture import (
    CellView,
    Curve,
    Lane,
    LimitLine,
    Marker,
    Panel,
    Picture,
    TimeBand,
    Timeline,
)
from bmslink.reports.pictures.sources import Sources
from bmslink.reports.pictures.svg import picture_svg
from bmslink.reports.pictures.terminal import picture_lines
from bmslink.reports.pictures.track import Track

__all__ = [
    "QUANTITIES",
    "CellView",
    "Curve",
    "Lane",
    "LimitLine",
    "Limits",
    "Marker",
    "Panel",
    "Picture",
    "Sources",
    "TimeBand",
    "Timeline",
    "Track",
    "gather",
    "make_picture",
    "picture_html",
    "picture_lines",
    "picture_svg",
]
