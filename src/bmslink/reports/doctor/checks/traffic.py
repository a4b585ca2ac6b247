"""How good the line is: checksums, echo, strangers, second masters, late answers."""

from __future__ import annotations

from dataclasses import replace

from bmslink.events import EventSeverity
from bmslink.reports.doctor.facts import LineFacts, PackFacts
from bmslink.reports.doctor.finding import CheckVerdict, DoctorFinding, found, right, unknown

__all__ = ["damage", "echo", "quality", "second_master", "strangers"]

_BAD_SHARE = 0.02
"""Of frames that fail their checksum: wired lines have none."""
_LOST = 0.05
"""Of requests that got no answer to one try."""
_LATE = 0.5
"""Of the time that an answer may take, used on the mean."""
_MOST_NOISE = 8
"""Bytes that belong to no frame in a whole look: an adapter that is opened gives one or two."""
_FILLING = 2
"""The same for each answer: JK's boards put a zero between a record and its acknowledgement."""


def _line(facts: PackFacts) -> LineFacts | CheckVerdict | None:
    if facts.target.scheme == "replay":
        return None
    if facts.service:
        return unknown("the service owns the line")
    if facts.line is None:
        return unknown("nothing was exchanged with the pack")
    return facts.line


def damage(facts: PackFacts) -> CheckVerdict | None:
    """Checksum errors and noise."""
    line = _line(facts)
    if not isinstance(line, LineFacts):
        return line
    total = line.frames + line.bad_frames
    finding = _damage(line, total)
    if finding is not None:
        numbers = {"frames": total, "bad_frames": line.bad_frames, "noise": line.noise}
        return found(replace(finding, facts=numbers))
    if not total:
        return unknown("no frame came")
    return right(f"{total} frames, {line.bad_frames} damaged")


def _damage(line: LineFacts, total: int) -> DoctorFinding | None:
    if line.tails > 1 and line.tails * 3 > line.asked:
        return DoctorFinding(
            what=f"Before {line.tails} of {line.asked} answers the end of the one before comes "
            "again.",
            fix="The adapter or gateway keeps bytes back: update it, or lengthen the pause between "
            "requests (?gap=0.3 in the target).",
        )
    if line.bad_frames and line.bad_frames > _BAD_SHARE * total:
        return DoctorFinding(
            severity=EventSeverity.ALARM,
            what=f"{line.bad_frames} of {total} frames failed their checksum.",
            fix="Check ground and the ends of the cable, keep it away from the inverter's cables, "
            "and try a shorter one.",
        )
    if line.strangers or line.doubles:
        return None  # they have a check of their own
    if line.noise > max(_MOST_NOISE, _FILLING * line.asked):
        return DoctorFinding(
            what=f"{line.noise} bytes came that belong to no frame.",
            fix="Check ground and the bias of the line (RS485: A up, B down by 560 Ω), and whether "
            "answers arrive cut off.",
        )
    if line.halves > 1:
        return DoctorFinding(
            what=f"{line.halves} of {line.asked} answers came without a whole frame: cut off, or "
            "damaged.",
            fix="Check ground and plugs. A gateway may send its packets off too early: lengthen "
            "its packing time.",
        )
    return None


def echo(facts: PackFacts) -> CheckVerdict | None:
    """Whether our own bytes come back."""
    line = _line(facts)
    if not isinstance(line, LineFacts):
        return line
    if line.asked and line.echoes * 2 > line.asked:
        return found(
            DoctorFinding(
                severity=EventSeverity.INFO,
                what=f"Each request comes back before its answer ({line.echoes} of {line.asked}): "
                "the adapter hears itself.",
                fix="bmslink passes over it. Other programs may not: an adapter that switches its "
                "receiver off while it sends has no echo.",
                facts={"echoes": line.echoes, "requests": line.asked},
            )
        )
    return right("no request comes back") if line.asked else unknown("nothing was asked")


def strangers(facts: PackFacts) -> CheckVerdict | None:
    """Frames of other devices, and answers that come twice."""
    line = _line(facts)
    if not isinstance(line, LineFacts):
        return line
    if line.strangers:
        return found(
            DoctorFinding(
                severity=EventSeverity.WARNING,
                what=f"{line.strangers} Modbus frames of another device came among the answers.",
                fix="Give each device on the line its own address, and ask only from one place.",
                facts={"strangers": line.strangers},
            )
        )
    if line.doubles > 1 and line.doubles * 3 > (line.frames if facts.streams else line.asked):
        return found(
            DoctorFinding(
                severity=EventSeverity.WARNING,
                what=f"Answers come twice ({line.doubles} times).",
                fix="Two boards with one address answer, or a gateway repeats: give each board its "
                "own address.",
                facts={"doubles": line.doubles},
            )
        )
    return right("only answers to what was asked came") if line.frames else unknown("no frame came")


def second_master(facts: PackFacts) -> CheckVerdict | None:
    """Whether somebody else asks on this line."""
    line = _line(facts)
    if not isinstance(line, LineFacts):
        return line
    if facts.streams:
        return unknown("the board sends by itself, so a listener hears it all the time")
    if line.unasked is None:
        return unknown(facts.missing.get("silence", "nobody listened"))
    if line.unasked > 2:
        what = f" ({line.masters})" if line.masters else ""
        return found(
            DoctorFinding(
                severity=EventSeverity.ALARM,
                what=f"{line.unasked} bytes{what} came in {line.listened:g} s in which nothing was "
                "asked: somebody else asks on this line.",
                fix="Take the other master off (display, inverter, second program), or let it ask "
                "through bmslink's service.",
                facts={"bytes": line.unasked, "seconds": line.listened, "what": line.masters},
            )
        )
    return right(f"nothing came in {line.listened:g} s of silence")


def quality(facts: PackFacts) -> CheckVerdict | None:
    """Lost and late answers."""
    line = _line(facts)
    if not isinstance(line, LineFacts):
        return line
    if not facts.answers:
        return unknown("no pack answered")
    if not line.requests and facts.streams:
        return right("the board sends by itself")
    if not line.requests:
        return unknown("nothing was asked")
    took = "" if line.turnaround is None else f", an answer takes {1000 * line.turnaround:.0f} ms"
    numbers = {"requests": line.requests, "timeouts": line.timeouts, "turnaround": line.turnaround}
    if line.woken and not line.timeouts:
        return found(
            DoctorFinding(
                severity=EventSeverity.INFO,
                what=f"The first requests only woke the board ({line.woken} unanswered), then it "
                "answered all.",
                fix="Boards sleep to save the battery: bmslink asks again by itself.",
                facts=numbers,
            )
        )
    if line.timeouts > _LOST * line.requests and line.timeouts > 1:
        return found(
            DoctorFinding(
                severity=EventSeverity.WARNING,
                what=f"{line.timeouts} of {line.requests} requests got no answer in "
                f"{line.patience:g} s{took}.",
                fix="Check cable and ground; by radio go nearer; behind a gateway allow more time "
                "(--timeout 1.5).",
                facts=numbers,
            )
        )
    radio = facts.target.scheme == "ble"
    if not radio and line.turnaround is not None and line.turnaround > _LATE * line.patience:
        return found(
            DoctorFinding(
                severity=EventSeverity.WARNING,
                what=f"An answer takes {1000 * line.turnaround:.0f} ms of the "
                f"{1000 * line.patience:.0f} ms that it may: some will be lost.",
                fix="Allow more time (?timeout=1.5 in the target), and look why it is slow: the "
                "adapter's latency timer, a gateway, a busy board.",
                facts=numbers,
            )
        )
    return right(f"{line.requests} requests, {line.timeouts} unanswered{took}")
