"""`bmslink info`: who the pack is."""

from __future__ import annotations

import typer

from bmslink.cli import options as o

__all__ = ["command"]


def command(
    ctx: typer.Context,
    target: o.Target = None,
    protocol: o.Protocol = None,
    address: o.Address = None,
    baudrate: o.Baudrate = None,
    timeout: o.Timeout = None,
    pin_file: o.PinFile = None,
) -> None:
    """Ask a pack who it is: vendor, model, hardware, firmware, serial number, cells.

    And what can be written to it: for that it is asked for its settings, as `settings show` does.
    """
    from bmslink.cli.loop import run
    from bmslink.cli.standing import open_change
    from bmslink.device import Device
    from bmslink.model import Identity

    session = o.session_of(ctx)
    line = o.Line(
        protocol=protocol,
        address=address,
        baudrate=baudrate,
        timeout=timeout,
        pin_file=pin_file,
    )
    device = o.connect_all(session, [o.one_target(target)], line)[0]

    async def ask(device: Device) -> tuple[Identity, str | None]:
        async with device:
            identity = await device.inspect()
            return identity, open_change(device, identity)

    identity, cut_off = run(ask(device))
    if cut_off:
        session.complain(cut_off)
    if session.json:
        session.record({**identity.to_dict(), "open_change": cut_off})
        return
    from bmslink.cli.render import info, text

    session.show(info.table(identity, text.glyphs(ascii_only=session.ascii)))
