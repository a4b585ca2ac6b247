"""A9: whatever happens to a session, and to the programs that run it, everything is set back."""

from __future__ import annotations

import math
from contextlib import ExitStack, suppress
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from bmslink.control.sessions.kept import SessionStore
from bmslink.errors import BmsError
from bmslink.model import Switch
from crash_session import SessionBench, own_folder
from support import WHOLE_SWEEP

_PATIENCE = 900
"""Callbacks of a program on a dead link, which would go on for ever."""


class SessionDeaths(RuleBasedStateMachine):
    """Programs that begin, go on, set back and die at any await; an app; a link that is dead."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.silent = False

    @initialize(protocol=st.sampled_from(["daly-a5", "jk02", "jk-modbus", "jbd"]))
    def begin(self, protocol: str) -> None:
        folder = self.stack.enter_context(own_folder())
        self.bench = SessionBench(protocol, folder)
        self.expected, self.switch = self.bench.before
        self.expected = dict(self.expected)

    def _live(self, dies_in: int, *, restore: bool) -> None:
        if restore and next(SessionStore().all(), None) is None:
            return
        at = dies_in or (_PATIENCE if self.silent else math.inf)
        with suppress(BmsError):  # refused, or not all is set back: then it is kept
            self.bench.live(restore=restore, dies_at=at)

    @rule(dies_in=st.integers(0, 2500))
    def run_on(self, dies_in: int) -> None:
        self._live(dies_in, restore=False)

    @rule(dies_in=st.integers(0, 500))
    def set_back(self, dies_in: int) -> None:
        self._live(dies_in, restore=True)

    @rule(change=st.sampled_from([("balance_delta", 0.02), ("cell_ovp", 3.62), ("cell_ovp", 3.64)]))
    def app(self, change: tuple[str, float]) -> None:
        key, value = change
        self.bench.device.pack.settings[key] = self.expected[key] = value

    @rule(silent=st.booleans())
    def link(self, silent: bool) -> None:
        self.silent = silent
        faults: Any = self.bench.device.faults
        (faults.enable if silent else faults.disable)("silent")

    @invariant()
    def what_differs_is_kept(self) -> None:
        """Every setting is as people have it, but for what a session that is kept has written."""
        if not hasattr(self, "bench"):
            return
        now, switch = self.bench.state()
        kept = next(SessionStore().all(), None)
        differs = {key for key in now if now[key] != self.expected[key]}
        if kept is None:
            assert (differs, switch) == (set(), self.switch)
            return
        for key in differs:
            assert now[key] == kept.plan.settings[key], key
            assert kept.before[key] is not None
        if switch is not self.switch:
            assert (kept.switched, kept.switch_before) == (True, self.switch)

    def teardown(self) -> None:
        if hasattr(self, "bench"):
            self.link(silent=False)
            for _ in range(3):
                self._live(0, restore=True)
            assert next(SessionStore().all(), None) is None
            self.what_differs_is_kept()
            assert self.bench.device.pack.switches[Switch.BALANCE] is self.switch
        self.stack.close()


SessionDeaths.TestCase.settings = settings(
    max_examples=150 if WHOLE_SWEEP else 4,
    stateful_step_count=10 if WHOLE_SWEEP else 6,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestSessionDeaths = SessionDeaths.TestCase
