"""The commissioning sheet of a pack or a bank: one HTML file to print, sign and hand over.

```python
from bmslink.reports import sheet

found = await sheet.sheet_of_pack(bmslink.connect("van").target)
Path("van.html").write_text(sheet.sheet_html(sheet.Sheet(title="Van", packs=[found])))
```

Gathering (`sheet_of_pack`, `sheet_of_board`, `sheets_of_file`) only reads; `sheet_html` is pure and
needs jinja2. What is not known is said to be "not known", with the reason.
"""

from __future__ import annotations

from bmslink.reports.sheet.facts import PackSheet, Sheet, SheetApproval
from bmslink.reports.sheet.gathering import sheet_of_board, sheet_of_pack, sheets_of_file
from bmslink.reports.sheet.html_page import sheet_html

__all__ = [
    "PackSheet",
    "Sheet",
    "SheetApproval",
    "sheet_html",
    "sheet_of_board",
    "sheet_of_pack",
    "sheets_of_file",
]
