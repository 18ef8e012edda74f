"""Settings: what each place says, what wins, and what is refused before anything starts."""

from hashlib import sha256
from pathlib import Path
import tomllib

import pytest

from covid19net.errors import InputError
from covid19net.service.settings import Destination, is_loopback, load_settings, show_settings

SECRET = "correct horse battery staple"
FILE = f"""
data = "/srv/covid19net"
port = 9000
queue_limit = 10
callers = ["CT1", "PACS"]
pacs = "https://pacs.example/dicom-web"
pacs_authorization = "Bearer for-the-pacs"

[[tokens]]
name = "ris"
secret = "{SECRET}"
roles = ["submit", "read"]

[[destinations]]
name = "pacs"
kind = "dicom"
host = "10.0.0.5"
port = 104
ae = "PACS"
objects = ["seg", "sr"]

[[destinations]]
name = "archive"
kind = "stow"
url = "https://me:hunter2@archive.example/dicom-web/"
authorization = "Bearer for-the-archive"
"""


def settings_file(folder: Path, text: str) -> Path:
    path = folder / "serve.toml"
    path.write_text(text)
    return path


def fault(folder: Path, text: str, environment=None, **given) -> str:
    with pytest.raises(InputError) as refused:
        load_settings(settings_file(folder, text), environment or {}, **given)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_file_is_read_and_secrets_are_kept_as_digests(tmp_path):
    settings = load_settings(settings_file(tmp_path, FILE), {})
    (token,) = settings.tokens
    assert token.secret_sha256 == sha256(SECRET.encode()).hexdigest()
    assert token.roles == {"submit", "read"}
    assert settings.destinations[0] == Destination("pacs", "dicom", ("seg", "sr"), "10.0.0.5", 104, "PACS")
    assert settings.destinations[1].url == "https://me:hunter2@archive.example/dicom-web"
    assert (settings.host, settings.queue_limit, settings.callers) == ("127.0.0.1", 10, ("CT1", "PACS"))


def test_the_environment_wins_over_the_file_and_options_over_both(tmp_path):
    environment = {
        "COVID19NET_SERVE_PORT": "9001",
        "COVID19NET_SERVE_QUEUE_LIMIT": "11",
        "COVID19NET_SERVE_CALLERS": "CT2, CT 3",
        "COVID19NET_SERVE_AE_TITLE": "1234",  # text, though it looks like a number
        "COVID19NET_SERVE_IDENTIFY": "true",
        "COVID19NET_SERVE_TOKENS": '[{name = "a", secret = "0123456789abcdef", roles = ["admin"]}]',
        "PORT": "1",
    }
    settings = load_settings(settings_file(tmp_path, FILE), environment, port=9002, host=None)
    assert (settings.port, settings.queue_limit) == (9002, 11)
    assert settings.callers == ("CT2", "CT 3")
    assert settings.ae_title == "1234"
    assert settings.identify is True
    assert [token.name for token in settings.tokens] == ["a"]


def test_every_fault_is_named_in_one_line(tmp_path):
    said = fault(tmp_path, 'prot = 1\nport = 70000\nworkers = true\njob_minutes = "long"\n')
    for part in (
        "serve.toml: ",
        "prot is no setting",
        "port: ",
        "65535",
        "workers: ",
        "job_minutes: ",
        "data is",
    ):
        assert part in said


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("data = ", "no TOML"),
        ('data = "x"\ncallers = "CT1"', "callers: a list"),
        ('data = "x"\nae_title = "A LONG TITLE OF 23 CHARS"', "ae_title"),
        ('data = "x"\npacs = "file:///etc/passwd"', "pacs: an http"),
        ('data = "x"\n[[tokens]]\nname = "a"\nsecret = "short"\nroles = ["read"]', "16 characters"),
        ('data = "x"\n[[tokens]]\nname = "a"\nsecret = "0123456789abcdef"\nroles = ["root"]', "choose of"),
        ('data = "x"\n[[tokens]]\nname = "a"\nsecret = "0123456789abcdef"\nroles = []', "a token has"),
        ('data = "x"\n[[tokens]]\nname = "a"\nroles = ["read"]', "a token has"),
        ('data = "x"\n[[destinations]]\nname = "a"\nkind = "dicom"\nurl = "http://a"', "a dicom destination"),
        ('data = "x"\n[[destinations]]\nname = "a"\nkind = "mail"', "choose of dicom, stow"),
        ('data = "x"\nport = 104\ndicom_port = 104', "both 104"),
        ('data = "x"\nkeep_inputs_days = 10\nkeep_results_days = 5', "keep_results_days"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(tmp_path, text, part):
    assert part in fault(tmp_path, text)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.4", "::", "hospital.example"])
def test_another_address_than_loopback_needs_a_token_and_a_listener_its_callers(tmp_path, host):
    assert "needs tokens" in fault(tmp_path, 'data = "x"', host=host)
    token = '[[tokens]]\nname = "a"\nsecret = "0123456789abcdef"\nroles = ["read"]'
    assert load_settings(settings_file(tmp_path, f'data = "x"\n{token}'), {}, host=host).host == host
    assert "needs callers" in fault(tmp_path, 'data = "x"\ndicom_port = 11112', dicom_host=host)
    assert load_settings(None, {}, data="x", dicom_host=host).dicom_port is None  # no listener


def test_loopback_is_known_by_its_addresses():
    assert all(map(is_loopback, ["127.0.0.1", "127.3.2.1", "::1", "[::1]", "localhost"]))
    assert not any(map(is_loopback, ["0.0.0.0", "::", "localhost.evil.example", "10.0.0.1"]))


def test_what_is_shown_is_toml_that_reads_back_and_holds_no_secret(tmp_path):
    settings = load_settings(settings_file(tmp_path, FILE), {})
    shown = show_settings(settings)
    assert "hunter2" not in shown
    assert SECRET not in shown
    assert "Bearer" not in shown
    assert "Bearer" not in repr(settings)
    assert settings.tokens[0].secret_sha256 not in shown
    values = tomllib.loads(shown)
    values["tokens"][0] |= {"secret_sha256": settings.tokens[0].secret_sha256}
    values["destinations"][1] |= {
        "url": settings.destinations[1].url,
        "authorization": "Bearer for-the-archive",
    }
    values["pacs_authorization"] = "Bearer for-the-pacs"
    assert load_settings(None, {}, **values) == settings
