"""What is refused before any route sees it."""

from __future__ import annotations

import asyncio

import pytest
from asgi_support import LOCAL, STRANGER, App, ask

from bmslink.errors import BmsError, GateError, LinkTimeout
from bmslink.runtime.api.access.guard import BODY_TIME, LONGEST_BODY, RequestGuard
from bmslink.runtime.api.access.peer import Peer
from bmslink.runtime.api.access.rates import RATES
from bmslink.runtime.api.access.tokens import Access
from bmslink.runtime.api.answers import answer

TOKEN = "t" * 40
BEARER = {"authorization": f"Bearer {TOKEN}"}


async def echo(scope, receive, send):
    message = await receive()
    await answer({"path": scope["path"], "got": len(message["body"])})(scope, receive, send)


def guarded(app: App = echo, **access) -> RequestGuard:
    return RequestGuard(app, Access(**{"token": TOKEN, **access}))


async def test_a_local_program_needs_no_token_and_a_stranger_does():
    guard = guarded()
    assert (await ask(guard, "GET", "/api/v1/packs")).status == 200
    for peer in (STRANGER, None):  # what is not known to be local is a stranger
        refused = await ask(guard, "GET", "/api/v1/packs", peer=peer, headers={"host": "localhost"})
        assert refused.status == 401
        assert set(refused.values) == {"schema", "error", "hint"}
        assert refused.headers["www-authenticate"] == "Bearer"
    assert (await ask(guard, "GET", "/x", peer=STRANGER, headers=BEARER)).status == 200
    assert (await ask(guard, "GET", "/healthz", peer=STRANGER)).status == 200


@pytest.mark.parametrize(
    "given",
    ["", "Bearer", "Bearer ", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer \xe4\xf6\xfc"],
)
async def test_a_wrong_token_is_refused(given):
    headers = {"authorization": given}
    assert (await ask(guarded(), "GET", "/x", peer=STRANGER, headers=headers)).status == 401
    nobody = guarded(token=None)
    assert (await ask(nobody, "GET", "/x", peer=STRANGER, headers=headers)).status == 401


async def test_a_token_in_the_address_is_refused_even_if_it_is_right():
    for name in ("token", "access_token", "TOKEN", "pin"):
        target = f"/api/v1/packs?{name}={TOKEN}"
        refused = await ask(guarded(), "GET", target, peer=STRANGER, headers=BEARER)
        assert refused.status == 400
        assert TOKEN not in refused.body.decode()


async def test_guessing_is_slowed_down_and_locks_nobody_out():
    guard = guarded()
    wrong = {"authorization": "Bearer no"}
    seen = [(await ask(guard, "GET", "/x", peer=STRANGER, headers=wrong)).status for _ in range(20)]
    assert seen == [401] * RATES["wrong"][0] + [429] * (20 - RATES["wrong"][0])
    assert (await ask(guard, "GET", "/x", peer=STRANGER, headers=BEARER)).status == 200


@pytest.mark.parametrize(
    ("host", "loopback", "status"),
    [
        ("127.0.0.1:8093", True, 200),
        ("localhost", True, 200),
        ("LOCALHOST:1", True, 200),
        ("[::1]:8093", True, 200),
        ("van.lan:8093", True, 200),
        ("evil.example", True, 421),
        ("127.0.0.1.evil.example", True, 421),
        ("192.168.1.5:8093", True, 421),
        ("192.168.1.5:8093", False, 200),
        ("evil.example", False, 421),
        ("", True, 421),
        ("localhost@evil.example", True, 421),
        ("localhost:8093/x", True, 421),
    ],
)
async def test_only_names_of_this_machine(host, loopback, status):
    guard = guarded(hosts=frozenset({"van.lan"}), loopback=loopback)
    headers = {**BEARER, "host": host}
    assert (await ask(guard, "GET", "/x", peer=STRANGER, headers=headers)).status == status


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"origin": "http://127.0.0.1:8093"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:8094"}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "none"}, 200),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/json; charset=utf-8"}, 200),
    ],
)
async def test_pages_of_other_sites_command_nothing(more, status):
    headers = {**BEARER, **more}
    got = await ask(guarded(), "POST", "/api/v1/reload", {}, peer=STRANGER, headers=headers)
    assert got.status == status, got.body


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/packs/../../etc/passwd",
        "/api/v1/packs/%2e%2e/x",
        "/api/v1/packs/a%2Fswitch",
        "/api/v1/packs/a%5Cb",
        "/api/v1/packs/a%00",
        "/api/v1/packs/a%0d%0aset-cookie:x",
        "/api/v1//packs",
        "/..",
    ],
)
async def test_paths_that_mean_two_things_are_none(path):
    assert (await ask(guarded(), "GET", path)).status == 404


async def test_methods_bodies_and_double_headers():
    guard = guarded()
    refused = await ask(guard, "DELETE", "/api/v1/packs")
    assert refused.status == 405
    assert refused.headers["allow"] == "GET, HEAD, POST"
    assert (await ask(guard, "GET", "/x", b"{}")).status == 400
    assert (await ask(guard, "GET", "/x", headers={"transfer-encoding": "chunked"})).status == 400
    twice = [("authorization", f"Bearer {TOKEN}"), ("authorization", "Bearer x")]
    assert (await ask(guard, "GET", "/x", peer=STRANGER, headers=twice)).status == 400


async def test_a_long_body_is_not_read_to_its_end():
    declared = {"content-type": "application/json", "content-length": str(10**30)}
    assert (await ask(guarded(), "POST", "/x", headers=declared, chunks=[])).status == 413
    chunk = {"type": "http.request", "body": b" " * 65536, "more_body": True}
    endless = [dict(chunk) for _ in range(100)]
    sent = {"content-type": "application/json"}
    answer = await ask(guarded(), "POST", "/x", headers=sent, chunks=endless)
    assert answer.status == 413
    assert answer.headers["connection"] == "close"
    just = b" " * LONGEST_BODY
    assert (await ask(guarded(), "POST", "/x", just)).values["got"] == LONGEST_BODY


async def test_a_slow_body_and_one_that_breaks_off():
    headers = {"content-type": "application/json"}
    assert (await ask(guarded(), "POST", "/x", headers=headers, chunks=[])).status == 200
    part = {"type": "http.request", "body": b"{", "more_body": True}
    assert (await ask(guarded(), "POST", "/x", headers=headers, chunks=[part])).status == 400
    refused = []

    async def never():
        await asyncio.sleep(BODY_TIME * 2)
        raise AssertionError

    async def send(message):
        refused.append(message)

    scope = {"type": "http", "method": "POST", "path": "/x", "query_string": b"", "state": {}}
    scope |= {"headers": [(b"content-type", b"application/json")], "state": {"peer": LOCAL}}
    await guarded()(scope, never, send)
    assert refused[0]["status"] == 408


async def test_too_many_requests_never_refuse_a_switch():
    guard = guarded()
    seen = [(await ask(guard, "GET", "/x")).status for _ in range(RATES["any"][0] + 5)]
    assert seen.count(429) == 5
    assert (await ask(guard, "POST", "/api/v1/packs/van/switch", {"on": False})).status == 200
    assert (await ask(guard, "POST", "/api/v1/packs/van/lend/ab12", {})).status == 200
    other = Peer(local=True, uid=1001)
    assert (await ask(guard, "GET", "/x", peer=other)).status == 200
    await asyncio.sleep(1)
    assert (await ask(guard, "GET", "/x")).status == 200


@pytest.mark.parametrize(
    ("problem", "status", "words"),
    [
        (GateError("cell_ovp is too high; nothing was sent."), 409, "too high"),
        (LinkTimeout("van says nothing."), 504, "says nothing"),
        (RuntimeError("secret detail"), 500, "Internal error"),
    ],
)
async def test_what_goes_wrong_inside_is_an_answer(problem, status, words):
    async def broken(scope, receive, send):
        raise problem

    got = await ask(guarded(broken), "GET", "/x")
    assert got.status == status
    assert ("kind" in got.values) == isinstance(problem, BmsError)
    assert words in got.values["error"]
    assert "secret detail" not in got.body.decode()


async def test_nothing_but_http_is_answered():
    async def never(*_):
        raise AssertionError

    for kind in ("websocket", "lifespan"):
        await guarded(never)({"type": kind}, never, never)
