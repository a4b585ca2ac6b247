"""Compares what a board holds and has accepted with what the command returned and said."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from hostile.bench import Result
from hostile.matrix import COMMANDS, DIALECTS, NOT_LOOKED_FOR, QUIRKS, Memory, asked_of
from hostile.world import Outcome

__all__ = ["judge"]


_SET_BACK = re.compile(
    r"\b(was|were|is|are|been) set back\b|stands? as (it|they) (did|was|were)\b|\bas before\b"
    r"|\bas it was\b",
    re.IGNORECASE,
)
_DENIALS = re.compile(
    r"(not|cannot be|could not be|nothing (was|is)) (as before|set back)|not as it was",
    re.IGNORECASE,
)
_STAYS_OFF = re.compile(r"everything else was set back, and \w+ stays off", re.IGNORECASE)
"""Setting back never turns a current on."""
_SIDE_NOTE = re.compile(r"changed [^;.]*(\.\d[^;.]*)*; it is set back", re.IGNORECASE)
"""A claim about one setting that somebody changed beside the change."""
_NOTHING_SENT = re.compile(r"nothing (was|is) (sent|changed|written)", re.IGNORECASE)
_NOT_LOOKED = re.compile(r"whether any of them changed meanwhile was not looked at")
_UNSURE = re.compile(
    r"not (as|known|read|proved|proven|verified|sure|shown)|cannot be read|unknown|set back|failed"
    r"|still|resume|but |another board|does not|could not|differ",
    re.IGNORECASE,
)


def judge(outcome: Outcome, quirks: str | None = None) -> list[str]:
    """What is not true; empty where all is. `quirks`: instead of those of the cell."""
    recipe = QUIRKS[outcome.cell.quirk].quirks if quirks is None else quirks
    command = COMMANDS[outcome.cell.command]
    if command.start == "changed":
        found = _judge_verifying(outcome)
    else:
        found = _judge_reading(outcome) if command.reads else _judge(outcome)
    said = outcome.result.said
    if "Internal error" in said or "Traceback" in said:
        found.append("internal error")
    if outcome.stranger and "different:yes" in recipe:
        found.append(f"{outcome.stranger} writes went to another board")
    if outcome.cell.quirk == "none" and outcome.result.code != 0:
        found.append(f"healthy, yet exit {outcome.result.code}")
    return found


def _judge_reading(outcome: Outcome) -> list[str]:
    found = []
    code, healthy = outcome.result.code, outcome.healthy
    if outcome.accepted:
        found.append("a reading command wrote")
    if code == 0 and outcome.slots is not None:
        wrong = [at for at, raw in outcome.slots.items() if not _holds(outcome.at_end, at, raw)]
        if wrong:
            shown = ", ".join(f"{at:04X}" for at in wrong[:4])
            found.append(f"silent difference: {len(wrong)} registers not as held ({shown})")
    elif code == 0 and healthy is not None:
        held = {row["key"]: row.get("value") for row in healthy.objects}
        wrong_keys = [
            row["key"]
            for row in outcome.result.objects
            if row.get("value") is not None and held.get(row["key"], row["value"]) != row["value"]
        ]
        if wrong_keys:
            shown = ", ".join(wrong_keys[:4])
            found.append(f"silent difference: {len(wrong_keys)} values not held ({shown})")
    if code != 0 and outcome.slots is not None:
        found.append(f"exit {code}, and yet there is a backup")
    if (
        outcome.cell.quirk.startswith("implausible")
        and outcome.cell.command == "config backup"
        and code == 0
    ):
        found.append("silent difference: nonsense is backed up as good")
    return found


def _judge_verifying(outcome: Outcome) -> list[str]:
    """What is said to hold is held, what is said to differ differs, and nothing is written."""
    found = []
    code, told = outcome.result.code, outcome.result.objects[-1:]
    if outcome.accepted:
        found.append("a reading command wrote")
    if code not in (0, 5):
        return found
    word = told[0]["result"] if told else ""
    if (code == 0) is not (word in ("holds", "nothing")):
        found.append(f"exit {code} with {word or 'nothing said'}")
    if (word == "open") is not (outcome.open_changes > 0):
        found.append(f"says {word}, with {outcome.open_changes} open changes")
    if word == "nothing" and outcome.at_end == outcome.goal:
        found.append("a change that was made is forgotten")
    if word in ("holds", "differs"):
        wanted = outcome.factory if "set back" in told[0]["sentence"] else outcome.goal
        asked = asked_of(outcome.cell.dialect)
        wrong = {key for key, m in asked.items() if any(wanted[a] != outcome.at_end[a] for a in m)}
        said = {each["key"] for each in told[0]["differences"]}
        if wrong != said & asked.keys():
            found.append(f"silent difference: {wrong} differ, said are {said}")
    return found


def _holds(memory: Memory, at: int, raw: bytes) -> bool:
    """Whether memory holds these bytes from a register on; live ones are not in it."""
    if at not in memory:
        return True
    size = len(memory[at])
    step = size if at >= 0x1000 else 1
    parts = [raw[i : i + size] for i in range(0, len(raw), size)]
    return all(
        memory.get(at + step * number, part)[: len(part)] == part
        for number, part in enumerate(parts)
    )


def _judge(outcome: Outcome) -> list[str]:
    found = []
    cell, result, said = outcome.cell, outcome.result, outcome.result.said
    code = result.code
    as_goal, as_before = outcome.later == outcome.goal, outcome.later == outcome.factory
    beside = _only_beside(outcome)
    if code == 0 and not as_goal and not (beside and _NOT_LOOKED.search(said)):
        found.append(f"silent difference: exit 0, but {_differences(outcome.goal, outcome.later)}")
    words = ("done", "nothing", *(("rolled back",) if "--rollback" in cell.command else ()))
    if code == 0 and _word(result) not in words:
        found.append(f"exit 0 with {_word(result)}")
    if code == 0 and cell.command == "clock" and not _clock_is_right(outcome):
        found.append(f"silent difference: exit 0, but the clock shows {outcome.clock}")
    if code in (1, 2, 3) and outcome.accepted and outcome.later != outcome.before:
        changed = _differences(outcome.before, outcome.later)
        found.append(f"silent difference: exit {code}, but {changed}")
    elif code in (1, 2, 3) and outcome.acknowledged:
        found.append(f"exit {code}, but {outcome.acknowledged} writes were acknowledged")
    if _NOTHING_SENT.search(said) and outcome.accepted:
        found.append(f"untruthful: says that nothing was sent after {outcome.accepted} writes")
    plain = _DENIALS.sub("", said)
    if _SIDE_NOTE.search(plain) and not _bystanders_as_before(outcome):
        changed = _differences(outcome.factory, outcome.later)
        found.append(f"untruthful: says that a bystander is set back, but {changed}")
    if _STAYS_OFF.search(plain):
        plain = _STAYS_OFF.sub("", plain)
        if not _as_before_but_off(outcome):
            changed = _differences(outcome.factory, outcome.later)
            found.append(f"untruthful: says set back and off, but {changed}")
    if _SET_BACK.search(_SIDE_NOTE.sub("", plain)) and not as_before:
        changed = _differences(outcome.factory, outcome.later)
        found.append(f"untruthful: says set back, but {changed}")
    if code == 4:
        ended = as_before or as_goal or beside or outcome.open_changes
        if not ended and cell.command != "clock":
            changed = _differences(outcome.factory, outcome.later)
            found.append(f"silent difference: no open change, but {changed}")
        if not _UNSURE.search(said):
            found.append("untruthful: exit 4 without a word of doubt")
    planned = cell.command in ("settings set", "config apply", "config undo", "resume")
    if cell.quirk.startswith("implausible") and planned and code != 3:
        found.append(f"plans on nonsense: exit {code}")
    return found


def _only_beside(outcome: Outcome) -> bool:
    """Whether what was asked holds, and others changed the rest beside a command that cannot look:
    it sends nothing but the switch, and leaves nothing open."""
    cell = outcome.cell
    if cell.command not in NOT_LOOKED_FOR.get(cell.dialect, ()):
        return False
    wrong = {at for at, raw in outcome.goal.items() if outcome.later.get(at) != raw}
    asked = {at for at, raw in outcome.goal.items() if outcome.factory.get(at) != raw}
    return not wrong & (asked | outcome.written)


def _as_before_but_off(outcome: Outcome) -> bool:
    dialect = DIALECTS[outcome.cell.dialect]
    off = COMMANDS["switch off"].goal(dialect, outcome.factory)
    return outcome.later == off


def _bystanders_as_before(outcome: Outcome) -> bool:
    asked = {at for at, raw in outcome.goal.items() if raw != outcome.factory[at]}
    return all(outcome.later[at] == raw for at, raw in outcome.factory.items() if at not in asked)


def _word(result: Result) -> str:
    """How the command itself says it ended."""
    told = [each["outcome"]["result"] for each in result.objects if "outcome" in each]
    return str(told[-1]) if told else "nothing said"


def _clock_is_right(outcome: Outcome) -> bool:
    shown = outcome.clock
    return shown is not None and abs((shown - datetime.now(UTC)).total_seconds()) < 90


def _differences(wanted: Memory, held: Memory) -> str:
    wrong = [at for at in wanted if wanted[at] != held.get(at)]
    few = ", ".join(f"{at:04X} holds {held.get(at, b'').hex()}" for at in wrong[:3])
    return few + (f" and {len(wrong) - 3} more" if len(wrong) > 3 else "")
