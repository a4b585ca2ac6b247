"""The service's sockets: who may open them, and what becomes of those that are left behind."""

from __future__ import annotations

import os
import socket
import stat
import struct

import pytest

from bmslink.errors import PortBusy, PortDenied, TargetError, TransportError
from bmslink.runtime.api.access.peer import UNKNOWN, peer_of_socket
from bmslink.runtime.api.access.tokens import ensure_token, read_token
from bmslink.runtime.api.sockets import LONGEST_PATH, local_socket, tcp_socket


def mode(path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture(autouse=True)
def short_folder(tmp_path, monkeypatch):
    """A socket's path is short."""
    monkeypatch.chdir(tmp_path)


def test_only_the_user_or_the_group_may_open_it(tmp_path):
    path = tmp_path / "run" / "s"
    old = os.umask(0)
    try:
        with local_socket(path):
            assert mode(path) == 0o600
            assert mode(path.parent) == 0o700
        assert not path.exists()
        with local_socket(path, group=True):
            assert mode(path) == 0o660
    finally:
        os.umask(old)


def test_a_dead_socket_is_replaced_and_a_live_one_is_not(tmp_path):
    path = tmp_path / "s"
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()
    with local_socket(path) as listening:
        with pytest.raises(PortBusy, match="service stop"), local_socket(path):
            pass
        with socket.socket(socket.AF_UNIX) as client:  # the first one still answers
            client.connect(str(path))
            accepted, _ = listening.accept()
            accepted.close()
    with socket.socket(socket.AF_UNIX) as stranger:  # answers, and holds no lock of ours
        stranger.bind(str(path))
        stranger.listen()
        with pytest.raises(PortBusy), local_socket(path):
            pass
        assert path.exists()


def test_what_is_no_socket_stays(tmp_path):
    path = tmp_path / "s"
    path.write_text("mine")
    with pytest.raises(TransportError, match="no socket"), local_socket(path):
        pass
    assert path.read_text() == "mine"
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(TransportError, match="no socket"), local_socket(link):
        pass


def test_places_where_it_cannot_be(tmp_path):
    with (
        pytest.raises(TargetError, match="too long"),
        local_socket(tmp_path / ("x" * LONGEST_PATH)),
    ):
        pass
    everybody = tmp_path / "all"
    everybody.mkdir()
    everybody.chmod(0o777)
    with pytest.raises(PortDenied, match="Everybody"), local_socket(everybody / "s"):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(TransportError), local_socket(tmp_path / "file" / "s"):
        pass


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_somebody_else_is_refused(tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, 12345, 12345)
    with pytest.raises(PortDenied, match="belongs to somebody else"), local_socket(theirs / "s"):
        pass


def test_a_newer_socket_is_not_removed(tmp_path):
    path = tmp_path / "s"
    with local_socket(path):
        path.unlink()
        path.write_text("newer")
    assert path.read_text() == "newer"


def test_the_peer_is_known(tmp_path):
    here, there = socket.socketpair(socket.AF_UNIX)
    with here, there:
        peer = peer_of_socket(here)
    assert (peer.local, peer.uid, peer.pid) == (True, os.getuid(), os.getpid())
    assert peer.to_dict()["pid"] == os.getpid()
    with tcp_socket("127.0.0.1", 0) as listening:
        listening.setblocking(True)
        with socket.create_connection(listening.getsockname()):
            accepted, _ = listening.accept()
            with accepted:
                peer = peer_of_socket(accepted)
        assert (peer.local, peer.to_dict()) == (False, {"address": "127.0.0.1"})
        with pytest.raises(PortBusy), tcp_socket(*listening.getsockname()):
            pass
    assert peer_of_socket(None) == UNKNOWN
    assert struct.calcsize("3i") == 12


def test_the_token_is_made_once_and_for_the_owner_alone(tmp_path):
    path = tmp_path / "deep" / "token"
    token = ensure_token(path)
    assert len(token) >= 43
    assert mode(path) == 0o600
    assert ensure_token(path) == read_token(path) == token
    for wrong in (0o644, 0o660):
        path.chmod(wrong)
        with pytest.raises(TargetError, match=r"`chmod o=,g-w .*token`"):
            read_token(path)
    path.chmod(0o640)
    for bad in ("short", "x" * 40 + "\nmore", "é" * 40, ""):
        path.write_text(bad)
        with pytest.raises(TargetError, match="holds no token") as caught:
            ensure_token(path)
        assert bad == "" or bad not in str(caught.value)
    with pytest.raises(TransportError):
        read_token(tmp_path / "none")
