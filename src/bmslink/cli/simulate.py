"""`bmslink simulate`: a simulated pack for other software to talk to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from bmslink.cli import options as o
from bmslink.cli.option_groups import OptionGroup
from bmslink.cli.output import Session
from bmslink.cli.serving import ListenOptions, announce, run_server
from bmslink.errors import TargetError

if TYPE_CHECKING:
    from bmslink.simulation.ble.catalogue import Radio

__all__ = ["command"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RadioOptions(OptionGroup):
    """The Bluetooth module in front of the pack."""

    ble: Annotated[
        str | None,
        typer.Option(
            metavar="TRANSPORT",
            help="Be on the air: tcp-server:127.0.0.1:9911 is a virtual radio that programs join "
            "with BMSLINK_BLE_BACKEND=bumble:tcp-client:127.0.0.1:9911 (and further simulated "
            "packs with --ble tcp-client:...); usb:0 and the like are real controllers.",
        ),
    ] = None
    ble_module: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Its radio: jk, jk-two, jbd, jbd-bridge, daly or daly-locked.",
        ),
    ] = None
    ble_name: Annotated[
        str | None, typer.Option(metavar="NAME", help="The name it advertises.")
    ] = None
    ble_chunk: Annotated[
        str | None,
        typer.Option(metavar="RULE", help="Lengths of its notifications: 20, 128+22 or any."),
    ] = None
    ble_mtu: Annotated[
        int | None,
        typer.Option(parser=o.whole, metavar="N", help="The largest packet it agrees to."),
    ] = None
    ble_pin: Annotated[
        str | None,
        typer.Option(
            metavar="DIGITS",
            help="Six digits that a client must give: JBD's own way, a passkey on others.",
        ),
    ] = None

    def radio(self) -> Radio | None:
        """The module; `None` without --ble. `TargetError` where only its details are given."""
        from bmslink.simulation.ble.catalogue import Radio

        more = (self.ble_module, self.ble_name, self.ble_chunk, self.ble_mtu, self.ble_pin)
        if self.ble is None:
            if more != (None,) * len(more):
                raise TargetError("The --ble-… options need --ble TRANSPORT.")
            return None
        return Radio(
            transport=self.ble,
            module=self.ble_module,
            name=self.ble_name,
            chunks=self.ble_chunk,
            mtu=self.ble_mtu,
            pin=self.ble_pin,
        )


def command(
    ctx: typer.Context,
    protocol: Annotated[
        str | None, typer.Argument(metavar="PROTOCOL", help="What it speaks, e.g. jbd or jk02.")
    ] = None,
    *,
    listen: ListenOptions,
    air: RadioOptions,
    cells: Annotated[
        int | None, typer.Option(parser=o.whole, metavar="N", help="Cells in series.")
    ] = None,
    chemistry: Annotated[
        str, typer.Option(metavar="NAME", help="lfp, nmc, lto or na-ion.")
    ] = "lfp",
    capacity: Annotated[
        float, typer.Option(parser=o.number, metavar="AH", help="Its capacity when new.")
    ] = 100.0,
    soc: Annotated[
        float, typer.Option(parser=o.number, metavar="PERCENT", help="Charge at the start.")
    ] = 60.0,
    seed: Annotated[
        int, typer.Option(parser=o.whole, metavar="N", help="Another seed, another pack.")
    ] = 1,
    address: Annotated[
        list[int] | None,
        typer.Option(parser=o.whole, metavar="N", help="Its address; several: a pack for each."),
    ] = None,
    firmware: Annotated[
        str | None, typer.Option(metavar="VERSION", help="The firmware it claims to run.")
    ] = None,
    speed: Annotated[
        float, typer.Option(parser=o.number, metavar="X", help="Its seconds per second.")
    ] = 1.0,
    load: Annotated[
        str,
        typer.Option(
            metavar="LOAD", help="cycle, idle, amps (positive charges), or supply:AMPS:VOLTS."
        ),
    ] = "cycle",
    imbalance: Annotated[
        float | None,
        typer.Option(parser=o.number, metavar="MV", help="How far apart its cells rest when full."),
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[:ARG]", help="What goes wrong; `list` names them."),
    ] = None,
) -> None:
    """Simulate a pack that other software can talk to; prints `ready TARGET` when it can.

    Runs until it is interrupted (exit code 130; 0 after SIGTERM). Commands on standard input change
    the pack; `help` lists them. It keeps running when that input ends.
    """
    from bmslink.cli.stdin import lines
    from bmslink.simulation.serve import serve
    from bmslink.simulation.wire import FAULTS

    session = o.session_of(ctx)
    session.no_trace("simulate")
    if fault and "list" in fault:
        _list_faults(session, FAULTS)
        return
    if protocol is None:
        from bmslink.simulation.responder import RESPONDERS

        raise TargetError(f"Which protocol? Simulated are: {', '.join(RESPONDERS)}.")
    run_server(
        serve(
            protocol,
            pty=listen.pty,
            tcp=listen.tcp,
            ble=air.radio(),
            cells=cells,
            chemistry=chemistry,
            capacity=capacity,
            soc=soc,
            seed=seed,
            address=address,
            firmware=firmware,
            speed=speed,
            faults=fault or (),
            load=load,
            imbalance=imbalance,
            announce=lambda target: announce(session, target),
            commands=lines(),
            reply=lambda text: _reply(session, text),
            tell=session.say,
        )
    )


def _list_faults(session: Session, known: dict[str, str]) -> None:
    from bmslink.cli.render import simulate

    if session.json:
        for name, what in known.items():
            session.record({"fault": name, "does": what})
    else:
        session.show(simulate.faults(known))


def _reply(session: Session, text: str) -> None:
    if not session.json:
        session.print(*text.split("\n"))
        return
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    lines = text.splitlines()
    said = {"reply": lines if len(lines) > 1 else text}
    session.record(values if isinstance(values, dict) else said)
