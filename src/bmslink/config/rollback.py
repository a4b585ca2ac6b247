"""Setting a change back, and the truth about how that went.

"Set back" is said only of what was written back and read twice afterwards, later than this board
was ever seen to show a write. All else stays open in the journal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from bmslink.config.effects import describe
from bmslink.config.job import BoardChanged, Job
from bmslink.config.order import backwards
from bmslink.config.outcome import Outcome, Result
from bmslink.config.plan import Change
from bmslink.config.writer import patiently, still_ours, write_until_verified
from bmslink.errors import BmsError, RollbackError, VerifyError
from bmslink.protocols.common.settings_map import RawSettings, SettingsSnapshot
from bmslink.settings.setting import Value

__all__ = ["close", "roll_back", "unknown", "values_of"]

_ROLLBACKS = 3
"""How often setting back is tried where the line or the journal fails."""
_PAUSE = 1.0
"""Between two of these, s."""


async def roll_back(job: Job, changes: Sequence[Change], why: BmsError) -> BmsError:
    """Set everything back; the error that tells how that went. It goes on without a journal."""
    job.transaction = job.transaction.regardless()
    job.back = True
    last: BmsError = why
    for attempt in range(_ROLLBACKS):
        if attempt:
            await asyncio.sleep(_PAUSE)
        try:
            table = await _set_back(job, changes, str(why))
        except BoardChanged as error:
            return await unknown(job, changes, f"{why} {error}", look=False)
        except VerifyError as error:  # it was tried often enough
            last = error
            break
        except BmsError as error:
            last = error
            continue
        sentence = f"{why} {_set_back_sentence(job)}"
        outcome = outcome_of(job, "rolled back", sentence, changes, table)
        return VerifyError(outcome.sentence, outcome=outcome)
    failed = "as well." if str(last) == str(why) else f"too: {last}"
    return await unknown(job, changes, f"{why} Setting it back failed {failed}", look=True)


def _set_back_sentence(job: Job) -> str:
    if not job.left:
        return "Everything was set back: all settings are as they were before."
    return (
        f"Everything else was set back, and {_left(job)} stays off: setting back turns nothing "
        f"on, `bmslink switch {job.device.target.word}` does."
    )


def _left(job: Job) -> str:
    return ", ".join(key for keys in job.left.values() for key in keys)


async def _set_back(job: Job, changes: Sequence[Change], why: str) -> SettingsSnapshot:
    """Bring everything to what it was, in reverse order, and end the transaction."""
    await job.transaction.noted("rollback", why=why)
    await patiently(job, partial(_look, job))
    slots = job.settings.by_address
    order = backwards(job.settings, [change.slot for change in changes])
    order += [address for address in job.held if address not in order]
    old = {address: slots[address].clean(job.before[address]) for address in order}
    table = await write_until_verified(job, old, order)
    if job.unmended:
        told = "; ".join(job.unmended.values())
        raise VerifyError(f"This changed beside and cannot be set back: {told}.")
    await close(job, "rolled back", why=why, left=_left(job))
    return table


async def _look(job: Job) -> None:
    """`BoardChanged` if another board took the place of this one while it was written to."""
    await still_ours(job, (await job.device.settings(job.settings)).image)


async def unknown(job: Job, changes: Sequence[Change], why: str, *, look: bool) -> RollbackError:
    """The error for when neither the plan nor the old state is proven; the change stays open."""
    told, table = "What the BMS holds now is not known.", None
    if look:
        with suppress(BmsError):
            table = await job.device.settings(job.settings)
            told = _what_is_read(job, table.image)
    sentence = (
        f"{why} {told} `bmslink config resume {job.device.target.word}` is the next step; "
        "until then nothing else is written to this pack."
    )
    return RollbackError(sentence, outcome_of(job, "unknown", sentence, changes, table))


def outcome_of(
    job: Job,
    result: Result,
    sentence: str,
    changes: Sequence[Change],
    table: SettingsSnapshot | None,
) -> Outcome:
    """How a change ended; `table` is what was read last, `None` where that is not known."""
    return Outcome(
        result=result,
        sentence=sentence,
        transaction=job.transaction.id,
        changes=changes,
        notes=job.notes,
        stands={} if table is None else values_of(table, changes),
    )


def _what_is_read(job: Job, image: RawSettings) -> str:
    differ = [
        describe(job.settings, address, raw, image.get(address))
        for address, raw in job.before.items()
        if not job.settings.same(address, raw, image.get(address))
    ]
    if not differ:
        return "Read just now, all settings show what they did before; that is not proven yet."
    return f"Read just now, this is not as before: {'; '.join(differ)}. All else is."


def values_of(table: SettingsSnapshot, changes: Sequence[Change]) -> dict[str, Value | None]:
    """What a table holds of the settings that a change is about."""
    values = table.values()
    return {edit.key: values[edit.key] for change in changes for edit in change.edits}


async def close(job: Job, outcome: str, **data: str) -> None:
    """End the transaction; where the journal cannot be written, say so in the notes."""
    if untold := await job.transaction.closed(outcome, notes=job.notes, **data):
        job.notes.append(untold)
