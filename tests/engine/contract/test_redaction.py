"""What is taken out of words: keys in every form that they come in, and who it is; and that ordinary words stay."""

from __future__ import annotations

import base64
import itertools
import time
from pathlib import Path, PureWindowsPath
from urllib.parse import quote

import pytest

from stereodiff_blender.engine.contract import Finding, StereoDiffError, messages, redacted
from stereodiff_blender.engine.contract.redaction import COMMON_NAMES, SECRET, anonymous, redact, traceback_text

PASSWORDS = ("hunter2", "pa/ss", "p@ss", "/p@/s", "pass:word", "s@/:", "sn%40ke", "über", "a" * 400, "key=1&b=2",
             "x#y?z")
"""None of these is in any host or name below."""
HOST = "mirror.example:8443"
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
TOKENS = (
    "hf_" + LETTERS[10:44], "ghp_" + LETTERS[:36], "gho_" + LETTERS[:36], "ghs_" + LETTERS[:36],
    "github_pat_" + LETTERS[:22] + "_" + LETTERS[:59], "glpat-" + LETTERS[20:40], "gldt-" + LETTERS[20:40],
    "AKIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE", "sk-" + LETTERS[:48], "sk-proj-" + LETTERS[:40] + "-_x",
    "sk-ant-api03-" + LETTERS, "sk_live_" + LETTERS[:24], "xoxb-1234567890-" + LETTERS[:24],
    "xoxp-12-34-56-" + LETTERS[:32], "npm_" + LETTERS[:36], "pypi-AgEIcHlwaS5vcmc" + LETTERS, "AIza" + LETTERS[:35],
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0." + LETTERS[:43],
)
SIGNATURES = ("token", "access_token", "X-Amz-Signature", "X-Amz-Credential", "X-Amz-Security-Token", "Signature",
              "sig", "password", "api_key", "apikey", "key", "client_secret", "AWSAccessKeyId",
              "X-Goog-Signature", "auth")
SURROUNDINGS = ("{}", "cannot reach {}.", "({})", "'{}'", "proxy={}", "HTTPS_PROXY={} is set", "Looking in indexes: {}",
                '{{"index": "{}"}}', "tried {}, then nothing", "[{}]: refused", "--index-url {} failed\nin the end")


def assert_hidden(key: str, text: str) -> None:
    """Neither the key nor the half of it on either side of a letter that parts addresses."""
    shown = redact(text)
    pieces = [key, *(piece for piece in key.replace("@", "/").split("/") if len(piece) > 1)]
    assert not [piece for piece in pieces if piece in shown], shown
    assert SECRET in shown
    assert redact(shown) == shown


# --- Passwords in addresses ------------------------------------------------------------------------------------

@pytest.mark.parametrize("surroundings", SURROUNDINGS)
@pytest.mark.parametrize("scheme", ["http://", "https://", "socks5h://", "git+https://", "", "//", "http:/"])
def test_passwords_before_a_host(scheme, surroundings):
    """Without a scheme too, as proxies are set; with one slash only, as a path makes of an address."""
    for password, end in itertools.product(PASSWORDS, ("", "/", "/simple/numpy", "/x?y=z")):
        assert_hidden(password, surroundings.format(f"{scheme}jane:{password}@{HOST}{end}"))


@pytest.mark.parametrize("password", PASSWORDS)
def test_encoded_passwords_and_encoded_addresses(password):
    encoded = quote(password, safe="")
    address = quote(f"http://jane:{password}@{HOST}", safe="")
    for text in (f"http://jane:{encoded}@{HOST}", f"jane:{encoded}@{HOST}", f"next={address}", address.lower(),
                 f"https://{HOST}/login?next={address}", quote(f"jane:{password}@{HOST}", safe="")):
        shown = redact(text)
        assert encoded not in shown and encoded.lower() not in shown.lower() and SECRET in shown


def test_the_host_stays_readable():
    assert redact("http://jane:pw@mirror.example/x is down") == f"http://{SECRET}@mirror.example/x is down"
    assert redact("name:pw@proxy.example:3128") == f"{SECRET}@proxy.example:3128"
    assert redact("https://onlytoken@host/path@v1") == f"https://{SECRET}@host/path@v1"
    assert redact("https://host/x?a=1&token=abc&b=2") == f"https://host/x?a=1&token={SECRET}&b=2"


# --- Tokens, headers and signatures ----------------------------------------------------------------------------

@pytest.mark.parametrize("token", TOKENS)
def test_tokens_by_their_beginnings(token):
    for surroundings in SURROUNDINGS:
        assert_hidden(token, surroundings.format(token))
    assert_hidden(token, f"https://{token}@host/x")
    assert_hidden(token, f"https://oauth2:{token}@host/x")


@pytest.mark.parametrize("name", SIGNATURES)
def test_signed_addresses(name):
    value = "Zm9v%2Fc2VjcmV0+/x-y_z.1="
    for text in (f"https://s3.example/m?{name}={value}", f"https://s3.example/m?Expires=60&{name}={value}&x=1"):
        assert_hidden(value, text)
        assert redact(text).startswith("https://s3.example/m?")


@pytest.mark.parametrize("name", ["Authorization", "authorization", "Proxy-Authorization", "Cookie", "Set-Cookie",
                                  "X-Api-Key", "HF_TOKEN", "private-token", "db_password"])
def test_headers_and_settings(name):
    for value in ("opaque99", base64.b64encode(b"jane:pw").decode()):
        for text in (f"{name}: {value}", f"{name}={value}", f"'{name}': '{value}'", f'{{"{name}": "{value}"}}',
                     f'{{\\"{name}\\": \\"{value}\\"}}'):
            assert_hidden(value, text)
    assert_hidden("opaque99", f"{name}: Bearer opaque99")


@pytest.mark.parametrize("text", ["Bearer opaque99", "bearer opaque99", "sent Bearer opaque99, refused"])
def test_bearer_alone(text):
    assert_hidden("opaque99", text)


def test_basic_alone():
    login = base64.b64encode(b"jane:hunter2").decode()
    assert_hidden(login, f"sent Basic {login} and was refused")


@pytest.mark.parametrize(("name", "value", "said"), [
    ("HF_TOKEN", "plainword", "the token plainword is of nobody"),
    ("HTTP_PROXY", "http://jane:hal/fpassword@host", "Invalid port: 'hal/fpassword'"),
    ("https_proxy", "jane:hal/fpassword@host:3128", "no host fpassword"),
    ("PIP_INDEX_URL", "https://jane:sn%40kesnake@host/simple", "password sn@kesnake was refused"),
    ("HF_ENDPOINT", "https://jane:first@second@host", "cannot resolve second@host"),
])
def test_keys_of_this_environment_wherever_they_are_quoted(monkeypatch, name, value, said):
    monkeypatch.setenv(name, value)
    shown = redact(said)
    assert SECRET in shown
    assert not [piece for piece in ("plainword", "fpassword", "sn@kesnake", "second") if piece in shown]


def test_short_values_of_the_environment_are_no_keys(monkeypatch):
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
    assert redact("1 of 11 files") == "1 of 11 files"


@pytest.mark.parametrize("said", ["Port could not be cast to integer value as 'half'", "nonnumeric port: 'half'",
                                  'Invalid port: "half"'])
def test_what_libraries_take_for_a_port(said):
    """Of http://jane:half/anhour@host."""
    assert_hidden("half", said)


# --- What stays ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("text", [
    "https://huggingface.co/tencent/DepthCrafter (the answer was 404).", "http://127.0.0.1:9 cannot be reached: no.",
    "https://github.com/a/b/archive@v1.2", "C:\\Users\\jane\\shots\\a@2x.png", "/mnt/shots/a@b/clip.mp4 is missing.",
    "write to jane@example.com", "12:30:01 read", "python:3.11", "clip.mp4: /mnt/a@b.mp4 cannot be opened",
    "hf_hub_download of hf_transfer", "scikit-learn, task-1234567890, disk-usage", "a basic setting, basic materials",
    "bearer token refused", "tokenizer.json has 12 of 500 bytes", "set it as HF_TOKEN for Blender", "-rf.mp4",
    "concat:x", "$(touch marker)", "100 % of %04d.png", "pypi-simple-index", "sha256:" + "0" * 64, "",
])
def test_ordinary_words_stay(text):
    assert redact(text) == text


def test_the_words_of_every_error_and_warning_stay():
    for explanation in (*messages.ERRORS.values(), *messages.WARNINGS.values()):
        for words in (explanation.sentence, explanation.remedy):
            assert redact(words) == words
            assert anonymous(words, home=Path("/home/jane"), user="jane") == words


def test_paths_stay_where_only_keys_are_hidden():
    home = Path.home() / "shots" / "clip.mp4"
    assert redact(f"{home} is missing") == f"{home} is missing"


@pytest.mark.parametrize("piece", ["a", ":", "@", "a:", "://", "eyJ-", "sk-", "hf_", "Bearer ", "token=", "?key=",
                                   "%40", "%3A%2F%2F", "x:/", "Basic Aa", "authorization:", "\"'", "AKIA"])
def test_a_long_text_takes_no_long_time(piece):
    """Twice as long may take about twice as long, not four times; generously, as machines are busy."""
    text = piece * (200_000 // len(piece))
    began = time.process_time()
    redact(text)
    assert time.process_time() - began < 5


# --- The doors -------------------------------------------------------------------------------------------------

def test_no_error_has_a_key_in_it():
    error = StereoDiffError("download_offline", "http://jane:hunter2@mirror.example cannot be reached.")
    assert "hunter2" not in error.message + str(error) + repr(error.args)
    assert "mirror.example cannot be reached" in error.message


def test_no_traceback_has_a_key_in_it():
    def fail() -> None:
        try:
            raise OSError("http://jane:hunter2@mirror.example")
        except OSError as cause:
            raise RuntimeError("Authorization: Bearer opaque99") from cause

    with pytest.raises(RuntimeError) as raised:
        fail()
    text = traceback_text(raised.value)
    assert "hunter2" not in text and "opaque99" not in text
    assert "OSError" in text and "RuntimeError" in text and "in fail" in text


# --- Who it is -------------------------------------------------------------------------------------------------

def test_only_the_home_folder_itself_is_shortened():
    text = anonymous("/home/ann/x, /home/anna/x, /home/ann, in /home/ann.", home=Path("/home/ann"), user="")
    assert text == "~/x, /home/anna/x, ~, in ~."


@pytest.mark.parametrize("text", [
    "/home/jane/x", "/home/jane", "in /home/jane.", "file:///home/jane/x", "HOME=/home/jane", "('/home/jane/x',)",
    "/media/jane/disk", "/backup/home/jane/x", "/mnt/jane_projects/x", "/mnt/projects-jane", "/mnt/JaneProjects",
    "/mnt/janes", "~jane/x", "C:\\Users\\Jane\\x", "C:\\\\Users\\\\jane\\\\x", "\\\\server\\jane$\\x",
    "jane@workstation", "/run/user/jane", "%2Fhome%2Fjane%2Fx", "jane", "C:\\Users\\JANE~1\\AppData",
])
def test_a_name_is_nowhere(text):
    shown = anonymous(text, home=Path("/home/jane"), user="jane")
    assert "jane" not in shown.lower()


@pytest.mark.parametrize("home", ["C:\\Users\\Jane Doe", "D:\\Profiles\\jane.doe", "/Users/Jane Doe", "/home/jane_doe"])
def test_homes_with_two_names_in_every_spelling(home):
    is_windows = "\\" in home
    folder = PureWindowsPath(home) if is_windows else Path(home)
    slashed = home.replace("\\", "/")
    texts = [home, slashed, home.replace("\\", "\\\\"), quote(slashed), "file:///" + quote(slashed, safe=":/"),
             home.upper(), home + "\\x", "C:\\Users\\JANEDO~1\\x", "C:\\Users\\JANE_D~1\\x", "/mnt/jane/x", "Doe_shots"]
    if is_windows:
        texts += [f"/{home[0].lower()}{slashed[2:]}", f"/mnt/{home[0].lower()}{slashed[2:]}/x"]
    for text in texts:
        shown = anonymous(text, home=_AnyHome(folder), user=folder.name).lower()
        assert "jane" not in shown, (text, shown)


class _AnyHome:
    """A home folder of another system than the tests run on."""

    def __init__(self, folder):
        self._folder = folder
        self.name = folder.name

    def __str__(self) -> str:
        return str(self._folder)

    def resolve(self) -> _AnyHome:
        return self


@pytest.mark.parametrize("written", ["Jürgen", "Ju\u0308rgen", "J%C3%BCrgen", "Ju%CC%88rgen"])
def test_accents_in_every_spelling(written):
    shown = anonymous(f"/Users/{written}/x and /mnt/{written}_shots", home=Path("/Users/Jürgen"), user="Jürgen")
    assert "rgen" not in shown


def test_a_home_that_is_no_text():
    """Bytes that are not UTF-8, as Python has them in names."""
    assert anonymous("/home/\udcff\udcfe/x", home=Path("/home/\udcff\udcfe"), user="\udcff\udcfe") == "~/x"


@pytest.mark.parametrize("user", ["bo", "ann", "root", "user", "blender", "1234"])
def test_short_and_common_names_are_parts_of_paths_only(user):
    text = f"about {user} of rooted bonnets, announced by blenders and users, 12345 MB"
    assert anonymous(text, home=Path("/nobody/here"), user=user) == text
    assert anonymous(f"/media/{user}/x", home=Path("/nobody/here"), user=user) == "/media/<user>/x"


def test_common_names_are_written_as_they_are_looked_up():
    assert {name.lower() for name in COMMON_NAMES} == COMMON_NAMES


def test_a_linked_home_in_both_spellings(tmp_path):
    real, link = tmp_path / "disk2" / "zoe", tmp_path / "homes" / "zoe"
    real.mkdir(parents=True)
    link.parent.mkdir()
    link.symlink_to(real, target_is_directory=True)
    assert anonymous(f"{link}/a {real}/b", home=link, user="zoe") == "~/a ~/b"


def test_a_report_says_neither_who_nor_with_which_keys():
    home = Path.home()
    finding = redacted(Finding("Folder", "fault", f"{home}/x, http://a:hunter2@host", f"Delete {home}/x."))
    assert finding == Finding("Folder", "fault", f"~/x, http://{SECRET}@host", "Delete ~/x.")
