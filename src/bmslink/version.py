"""The version of this package; a service and its clients compare theirs."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
