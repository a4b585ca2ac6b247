"""docs/evidence.md: what is proven by which capture, and who else says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from verdict_reasons import REASONS

__all__ = ["cell", "kinds", "page", "what"]


def page(
    rows: Mapping[str, list[tuple[str, ...]]],
    golds: Mapping[str, list[Mapping[str, Any]]],
    totals: Counter[str],
) -> Iterator[str]:
    """The lines of docs/evidence.md."""
    yield "# Evidence: what is proven by which capture"
    yield ""
    yield "Made by `python tools/goldens.py` from `tests/fixtures/`; a test fails when it is stale."
    yield ""
    yield (
        f"{totals['captures']} captures with {totals['pieces']} pieces: {totals['whole']} whole "
        f"valid frames, {totals['refused']} that must be refused and are, the rest fragments, "
        f"chatter and notification chunks. They give {totals['readings']} readings."
    )
    yield ""
    yield "`verified by`: **source**: the values published beside the bytes are asserted;"
    yield "a program's name: that independent program gives the same values;"
    yield "**expectation**: only our own notes say what the bytes mean; **none**: nobody else."
    yield "A golden guards against change in any case."
    yield ""
    yield from _counts(golds)
    every = [gold for several in golds.values() for gold in several]
    yield from _programs(every)
    yield from _differences(every)
    for folder, lines in sorted(rows.items()):
        yield ""
        yield f"## {folder}"
        yield ""
        yield "| hardware | firmware | capture | wire | what it proves | verified by | source |"
        yield "|---|---|---|---|---|---|---|"
        for line in sorted(lines):
            yield f"| {' | '.join(line)} |"


_KINDS = ("source", "program", "either", "expectation", "none", "without values")


def kinds(gold: Mapping[str, Any]) -> set[str]:
    """In which columns of the count a golden stands."""
    names = gold["verified_by"].split(", ")
    found = {"source"} & set(names)
    if set(names) - {"source", "expectation", "none"}:
        found.add("program")
    if found:
        return found | {"either"}
    if names != ["none"]:
        return {"expectation"}
    some = any(gold.get(key) for key in ("readings", "identity", "settings", "logs"))
    return {"none" if some else "without values"}


def _counts(golds: Mapping[str, list[Mapping[str, Any]]]) -> Iterator[str]:
    yield (
        "| folder | captures | source | independent program | source or program "
        "| expectation only | none | no values in it |"
    )
    yield "|---|--:|--:|--:|--:|--:|--:|--:|"
    total: Counter[str] = Counter()
    for folder, several in [*sorted(golds.items()), ("all", [])]:
        count = Counter(kind for gold in several for kind in kinds(gold))
        count["captures"] = len(several)
        if folder == "all":
            count = total
        else:
            total += count
        cells = [count["captures"], *(count[kind] for kind in _KINDS)]
        yield f"| {folder} | {' | '.join(map(str, cells))} |"
    yield ""
    yield "A capture without values holds requests, answers to writes, or frames that are refused."


def _programs(golds: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """How the independent programs and we compare, value by value."""
    asked: Counter[str] = Counter()
    agreeing: Counter[str] = Counter()
    differing: Counter[str] = Counter()
    for gold in golds:
        for program, tally in gold.get("compared", {}).items():
            asked[program] += 1
            agreeing[program] += tally["agree"]
            differing[program] += sum(tally.values()) - tally["agree"]
    yield ""
    yield "`make verify` asks these programs about every capture; tests compare their recorded"
    yield "answers with ours on every run. powermon grew out of mppsolar and took what it knows of"
    yield "Daly from dalybms, so where these agree they are one witness."
    yield ""
    yield "| program | captures | values that agree | values that differ |"
    yield "|---|--:|--:|--:|"
    for program in sorted(asked):
        yield f"| {program} | {asked[program]} | {agreeing[program]} | {differing[program]} |"


def _differences(golds: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Each disagreement with its reason."""
    values: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    for gold in golds:
        for tally in gold.get("compared", {}).values():
            for name, count in tally.items():
                values[name] += count
                seen[name] += 1
    yield ""
    yield "Every value that differs, and why:"
    yield ""
    yield "| program | protocol | value | values (captures) | who | why |"
    yield "|---|---|---|--:|---|---|"
    for one in sorted(REASONS, key=lambda r: (r.program, r.name)):
        cells = (
            one.program,
            ", ".join(one.protocols),
            ", ".join(key.removeprefix("values.") for key in one.keys),
            f"{values[one.name]} ({seen[one.name]})",
            one.who,
            one.text,
        )
        yield f"| {' | '.join(cells)} |"


def what(gold: Mapping[str, Any]) -> str:
    """What a capture proves, in short."""
    roles = Counter[str]()
    for kind, count in gold.get("frames", {}).items():
        roles[kind.partition(":")[0].removeprefix("rx ").removeprefix("tx ")] += count
    parts = [f"{count} {role}" for role, count in sorted(roles.items())]
    skipped = [s["reason"] for s in gold.get("skipped", [])]
    if gold.get("bare"):
        parts.append(f"{gold['bare']} bare payloads, put back into frames")
    if skipped:
        parts.append(f"{len(skipped)} skipped ({', '.join(sorted(set(skipped)))})"[:90])
    if "refused" in gold:
        parts.append("refused whole: " + gold["refused"])
    return cell(", ".join(parts))


def cell(text: str) -> str:
    """Text that fits into a cell of a table."""
    return " ".join(text.replace("|", "/").split()) or "unknown"
