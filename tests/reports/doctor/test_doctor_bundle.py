"""The bundle for a bug report holds no secret, in no form, and is not written where it would."""

from __future__ import annotations

import base64
import json
import stat
import zipfile
from pathlib import Path
from urllib.parse import quote

import pytest
from doctor_cases import computer, identity, well

from bmslink.errors import GateError, TargetError
from bmslink.reports.doctor import Examination
from bmslink.reports.doctor.bundle.files import write_bundle
from bmslink.reports.doctor.bundle.redact import GONE, Redactor
from bmslink.reports.doctor.bundle.secrets import KnownSecret, holds, known_secrets
from bmslink.reports.doctor.examine import judged

SECRET = "Tr0ub4dor+3/x y"
TOML = """
# the old pin was 990011
[packs.van]
target = "jk02+ble://C8:47:8C:E4:55:12"
pin = "493817"
sink_command = "send --key {command} now"
[alerts.to.desk]
webhook = "https://hooks.example.org/services/T0AB12CD/XYZsecretpath99"
token_file = "token"
[alerts.to.phone]
apprise = "ntfys://somebody:hunter2hunter@ntfy.sh/mytopicname"
"""


@pytest.fixture(autouse=True)
def configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    (tmp_path / "bmslink.toml").write_text(TOML)
    (tmp_path / "token").write_text("tok-5f2e8a\n")
    monkeypatch.setenv("BMSLINK_CONFIG", str(tmp_path / "bmslink.toml"))
    monkeypatch.setenv("BMSLINK_JOURNAL", str(tmp_path / "journal"))
    monkeypatch.setenv("BMSLINK_PIN", "771100")
    monkeypatch.setenv("HOME", "/home/annabel")
    monkeypatch.setenv("LOGNAME", "annabel")
    return tmp_path


def examined(words: str = "") -> Examination:
    facts = well(identity=identity(serial_number="SN40417720"))
    facts.missing["clock"] = f"/home/annabel/x of SN40417720 at c8:47:8c:e4:55:12. {words}"
    rx = b"\xdd\x03SN40417720\xc8\x47\x8c\xe4\x55\x12"
    pieces = [
        {"format": "bmslink-capture", "version": 1, "protocol": "jbd"},
        {"t": 0.0, "dir": "rx", "hex": rx[:7].hex()},
        {"t": 0.1, "dir": "rx", "hex": rx[7:].hex()},
        {},
    ]
    facts.capture = b"\n".join(json.dumps(each).encode() for each in pieces)
    return judged([facts], computer())


def test_secrets_and_names_are_not_in_it(configured: Path) -> None:
    path = write_bundle(configured / "b.zip", examined("493817 tok-5f2e8a"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    whole = b"\n".join(files.values())
    for secret in ("493817", "771100", "tok-5f2e8a", "XYZsecretpath99", "hunter2", "mytopicname",
                   "990011", "SN40417720", "annabel", "{command}"):  # fmt: skip
        assert secret.encode() not in whole, secret
    assert b"C8:47:8C:E4:55:12" not in whole.upper()
    clock = json.loads(files["pack-1/about.json"])["missing"]["clock"]
    assert clock == f"~/x of serial-1 at ble-1. {GONE} {GONE}"
    assert json.loads(files["config.json"])["bmslink.toml"]["packs"]["van"]["target"] == (
        "jk02+ble://ble-1"
    )
    rows = [json.loads(line) for line in files["pack-1/line.jsonl"].splitlines()]
    run = b"".join(bytes.fromhex(row["hex"]) for row in rows[1:])
    assert run == b"\xdd\x03" + b"x" * 16  # also what was cut in the middle
    assert "doctor.json" in files


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        SECRET.encode().hex(),
        SECRET.encode().hex(":").upper(),
        base64.b64encode(SECRET.encode()).decode(),
        base64.b64encode(b"?" + SECRET.encode() + b"!").decode(),
        base64.urlsafe_b64encode(b"??" + SECRET.encode() + b"?").decode(),
        quote(SECRET, safe=""),
        SECRET.encode("utf-16-le").decode("latin-1"),
        SECRET.encode("utf-16-be").decode("latin-1"),
    ],
)
def test_every_form_of_a_secret_is_seen(form: str) -> None:
    secret = KnownSecret("here", SECRET)
    assert holds(f"a {form} b".encode("latin-1"), secret)
    assert not holds(b"nothing of it", secret)


def test_a_short_number_counts_only_where_it_stands_alone() -> None:
    pin = KnownSecret("here", "1234")
    assert holds(b'{"pin": "1234"}', pin)
    assert not holds(b'{"time": 51234.5}', pin)


def test_it_is_not_written_where_a_secret_would_be_in_it(configured: Path) -> None:
    hidden = base64.b64encode(b"tok-5f2e8a").decode()
    with pytest.raises(GateError, match="token_file") as caught:
        write_bundle(configured / "b.zip", examined(hidden))
    assert "tok-5f2e8a" not in str(caught.value)
    assert not (configured / "b.zip").exists()


def test_a_secret_that_was_given_counts_as_well(configured: Path) -> None:
    with pytest.raises(GateError, match="given"):
        write_bundle(
            configured / "b.zip", examined("0x" + b"pinGiven1".hex()), secrets=["pinGiven1"]
        )


def test_a_file_that_is_there_stays(configured: Path) -> None:
    (configured / "b.zip").write_text("mine")
    with pytest.raises(TargetError, match="--force"):
        write_bundle(configured / "b.zip", examined())
    assert (configured / "b.zip").read_text() == "mine"


def test_no_secret_is_shown_by_its_repr() -> None:
    assert len(known_secrets()) > 5
    assert "493817" not in repr(known_secrets())


def test_the_same_name_is_the_same_everywhere() -> None:
    redact = Redactor()
    told = redact.value({"serial_number": "AB12345", "text": "board AB12345 and its twin CD67890"})
    assert told == {"serial_number": "serial-1", "text": "board serial-1 and its twin CD67890"}
    assert redact.text("http://user:pw@host:80/a?b=c") == f"http://host:80/{GONE}"
    assert redact.text("jbd+serial:///dev/ttyUSB0?address=1").startswith("jbd+serial:///dev/ttyU")
