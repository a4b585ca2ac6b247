"""Other programs on this computer."""

from __future__ import annotations

import os
import sys

__all__ = ["is_running"]


def is_running(pid: int) -> bool:
    """Whether a process runs on this computer, as far as one may know."""
    if sys.platform == "win32" or pid <= 0:
        return pid > 0
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True
