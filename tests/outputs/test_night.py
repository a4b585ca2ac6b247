"""Eight hours of a service, with faults, a kill and a stop: everything tells the same story."""

from __future__ import annotations

import subprocess
import sys

import pytest

from support import ROOT


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_night_is_one_story(tmp_path):
    words = [sys.executable, str(ROOT / "tools" / "night.py"), str(tmp_path / "night")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout.endswith("One story.\n")
