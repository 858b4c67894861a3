from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import curate
from curate.core.errors import DataError, ManifestError, SetupError
from curate.manifest import store
from curate.manifest.checksums import check_checksums, update_checksums
from curate.manifest.signature import check_key, check_signature, load_keys
from tests.conftest import ROOT

SUMS = "manifest/SHA256SUMS"
needs_openssh = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A sealed OUT with the demo's manifest and a card."""
    out = tmp_path / "out"
    shutil.copytree(ROOT / "manifests/demo", out / "manifest")
    (out / "manifest/log.jsonl").write_text('{"event": "started"}\n')
    for name in ("README.md", "croissant.json", "CITATION.cff"):
        (out / name).write_text("{}")
    curate.write_checksums(out)
    return out


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    """Two SSH keys without passphrases."""
    for name in ("key", "other"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)]
        subprocess.run(command, check=True)
    return tmp_path / "key", tmp_path / "other"


def public(key: Path) -> Path:
    return key.with_name(f"{key.name}.pub")


def found(out: Path, signed_by: Path | None = None) -> set[tuple[str, str]]:
    return {(each.kind, each.path) for each in check_checksums(out, signed_by)[1]}


def files(out: Path) -> list[str]:
    paths = (path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    return sorted(path for path in paths if path != SUMS)


def test_any_changed_byte_of_any_file_is_named(out: Path) -> None:
    assert found(out) == set()
    assert len(files(out)) > 6
    for path in files(out):
        before = (out / path).read_bytes()
        changed = bytearray(before)
        changed[len(before) // 2] ^= 1
        for data in (bytes(changed), before + b"\n", before[:-1], b""):
            (out / path).write_bytes(data)
            assert found(out) == {("changed", path)}
        (out / path).unlink()
        assert found(out) == {("missing", path)}
        (out / path).write_bytes(before)
    assert found(out) == set()


def test_the_list_is_that_of_coreutils(out: Path) -> None:
    lines = (out / SUMS).read_text().splitlines()
    assert lines == [f"{store.digest_file(out / path)}  {path}" for path in files(out)]


def test_a_missing_list_is_a_problem(out: Path) -> None:
    (out / SUMS).unlink()
    assert found(out) == {("missing", SUMS)}


@pytest.mark.parametrize(
    "line",
    [
        *("0" * 64 + "  data/a.jpg\n", "0" * 64 + "  ../README.md\n", "0" * 63 + "  README.md\n"),
        *("0" * 64 + "  manifest/records/../run.json\n", "0" * 64 + f"  {SUMS}\n"),
        *("x\n", "0" * 64 + "  LICENSE", "A" * 100_000, "\x00\n", "é\n", "\n"),
    ],
)
def test_a_list_of_anything_else_is_one_clear_line(line: str, out: Path) -> None:
    with (out / SUMS).open("w") as file:
        file.write(line)
    with pytest.raises(ManifestError, match=r"SHA256SUMS, line 1, is not the digest") as caught:
        check_checksums(out)
    assert str(caught.value).isprintable()


def test_what_is_not_covered_is_said(out: Path) -> None:
    (out / "card.toml").write_text("x")
    (out / ".git").mkdir()
    coverage, problems = check_checksums(out)
    assert problems == ()
    assert coverage.uncovered == ("card.toml", ".git/")
    text = coverage.to_text()
    assert "Not covered: card.toml, .git/;" in text
    assert "Not signed" in text
    assert store.digest_file(out / SUMS) in text


def test_only_files_of_the_user_may_be_absent_from_the_list(out: Path) -> None:
    for name in ("LICENSE", ".gitattributes", "card.toml", "before_after.jpg"):
        (out / name).write_text("x")
    curate.write_checksums(out)
    whole = (out / SUMS).read_text()
    own = {"README.md", "LICENSE", "CITATION.cff", ".gitattributes", "card.toml"}
    for line in whole.splitlines(keepends=True):
        path = line.split()[1]
        (out / SUMS).write_text(whole.replace(line, ""))
        assert found(out) == (set() if path in own else {("manifest", path)})
        assert check_checksums(out)[0].uncovered == (path,)
        changed = (out / path).read_bytes()
        (out / path).write_bytes(b"forged")
        assert bool(found(out)) is (path not in own)
        (out / path).write_bytes(changed)


@needs_openssh
def test_no_line_and_no_file_changes_after_signing(out: Path, keys: tuple[Path, Path]) -> None:
    key = public(keys[0])
    curate.write_checksums(out, keys[0])
    whole = (out / SUMS).read_text()
    for line in whole.splitlines(keepends=True):
        path = line.split()[1]
        before = (out / path).read_bytes()
        (out / SUMS).write_text(whole.replace(line, ""))  # its line removed
        assert ("signature", SUMS) in found(out, key)
        (out / path).unlink()  # with the file
        assert ("signature", SUMS) in found(out, key)
        (out / path).write_bytes(b"forged")
        (out / SUMS).write_text(whole)
        update_checksums(out, [path])  # changed with its line
        assert ("signature", SUMS) in found(out, key)
        (out / path).write_bytes(before)
        (out / SUMS).write_text(whole)
        assert found(out, key) == set()


def test_sealing_again_names_what_changed(out: Path) -> None:
    (out / "README.md").write_text("edited")
    (out / "CITATION.cff").unlink()
    (out / "card.toml").write_text("new")
    assert curate.write_checksums(out).changed == ("CITATION.cff", "README.md")
    assert found(out) == set()
    assert check_checksums(out)[0].uncovered == ()


def test_a_command_updates_only_what_it_wrote(out: Path) -> None:
    (out / "README.md").write_text("written again")
    (out / "croissant.json").write_text("altered")
    update_checksums(out, ["README.md"])
    assert found(out) == {("changed", "croissant.json")}


def test_a_folder_without_a_manifest_cannot_be_sealed(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="is not an output"):
        curate.write_checksums(tmp_path)


@needs_openssh
def test_a_signature_tells_whose_it_is(out: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    key, other = keys
    curate.write_checksums(out, key)
    coverage, problems = check_checksums(out)
    assert problems == ()
    assert coverage.signature.key is not None
    assert "--signed-by FILE checks whose it is" in coverage.to_text()
    assert found(out, public(key)) == set()
    assert "one of those of --signed-by" in check_checksums(out, public(key))[0].to_text()
    assert found(out, public(other)) == {("signature", SUMS)}
    both = tmp_path / "keys"
    both.write_text(f"# ours\n{public(other).read_text()}\n{public(key).read_text()}")
    assert found(out, both) == set()


@needs_openssh
def test_whatever_changes_after_signing_is_found(out: Path, keys: tuple[Path, Path]) -> None:
    key, _ = keys
    curate.write_checksums(out, key)
    trusted = public(key)
    before = (out / SUMS).read_text()
    (out / "README.md").write_text("forged")
    assert found(out, trusted) == {("changed", "README.md")}
    update_checksums(out, ["README.md"])  # as a forger would
    assert found(out) == {("signature", SUMS)}
    assert found(out, trusted) == {("signature", SUMS)}
    (out / "README.md").write_text("{}")
    (out / SUMS).write_text(before)
    assert found(out, trusted) == set()
    (out / "LICENSE").write_text("added after signing")
    assert found(out) == set()
    assert found(out, trusted) == {("signature", "LICENSE")}
    (out / "LICENSE").unlink()
    (out / f"{SUMS}.sig").unlink()
    assert found(out) == set()
    assert found(out, trusted) == {("signature", SUMS)}


@needs_openssh
@pytest.mark.parametrize("data", [b"", b"x" * 100_000, b"-----BEGIN SSH SIGNATURE-----\nAAAA\n"])
def test_a_signature_of_another_form_is_a_problem(data: bytes, out: Path) -> None:
    (out / f"{SUMS}.sig").write_bytes(data)
    assert found(out) == {("signature", SUMS)}


@needs_openssh
def test_a_signature_for_another_purpose_is_refused(out: Path, keys: tuple[Path, Path]) -> None:
    command = ["ssh-keygen", "-q", "-Y", "sign", "-f", str(keys[0]), "-n", "file", str(out / SUMS)]
    subprocess.run(command, check=True, capture_output=True)
    assert found(out) == {("signature", SUMS)}


def test_keys_that_cannot_be_used_are_named(out: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"does not exist; make one with `ssh-keygen"):
        curate.write_checksums(out, tmp_path / "none")
    with pytest.raises(DataError, match="cannot be read"):
        load_keys(tmp_path / "none")
    (tmp_path / "text").write_text("not a key\n")
    with pytest.raises(DataError, match=r"give the \.pub file"):
        check_checksums(out, tmp_path / "text")


@needs_openssh
def test_a_file_that_is_no_key_cannot_sign(out: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a key\n")
    with pytest.raises(DataError, match="cannot sign: "):
        curate.write_checksums(out, tmp_path / "text")


def test_without_openssh_the_remedy_is_named(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text("x")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match="install the package openssh-client"):
        curate.write_checksums(out, tmp_path / "key")
    body = "-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n"
    (out / f"{SUMS}.sig").write_text(body)
    assert "was not checked" in check_signature(out / SUMS).to_text()


@needs_openssh
def test_a_key_that_cannot_sign_leaves_everything_as_it_was(
    out: Path, keys: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curate.manifest.signature._has_terminal", lambda: False)
    curate.write_checksums(out, keys[0])
    before = {path: (out / path).read_bytes() for path in [*files(out), SUMS]}
    locked, lone, text = tmp_path / "locked", tmp_path / "lone.pub", tmp_path / "text"
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(locked)]
    subprocess.run(command, check=True)
    shutil.copy(public(locked), lone)
    text.write_text("no key")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    for key, remedy in (
        (locked, "ssh-add"),
        (lone, "an agent holds"),
        (text, "give a private SSH key"),
        (tmp_path / "empty", "give a private SSH key"),
        (tmp_path / "pipe", "is not a file"),
        (tmp_path, "is not a file"),
        (tmp_path / "none", "ssh-keygen -t ed25519"),
    ):
        (out / "README.md").write_text("edited")
        with pytest.raises(DataError, match=remedy) as caught:
            curate.write_checksums(out, key)
        assert "\n" not in str(caught.value)
        (out / "README.md").write_bytes(before["README.md"])
        assert {path: (out / path).read_bytes() for path in [*files(out), SUMS]} == before


@needs_openssh
def test_a_locked_key_is_not_refused_where_a_terminal_can_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(tmp_path / "key")]
    subprocess.run(command, check=True)
    monkeypatch.setattr("curate.manifest.signature._has_terminal", lambda: True)
    check_key(tmp_path / "key")


@needs_openssh
@pytest.mark.parametrize("kind", [("rsa", "-b", "2048"), ("rsa", "-m", "PEM"), ("ecdsa",)])
def test_keys_of_every_kind_sign(kind: tuple[str, ...], out: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    command = ["ssh-keygen", "-q", "-N", "", "-f", str(key), "-t", *kind]
    subprocess.run(command, check=True)
    assert curate.write_checksums(out, key).coverage.signature.key is not None
    assert found(out, public(key)) == set()
    (out / f"{SUMS}.sig").unlink()
    assert found(out, public(key)) == {("signature", SUMS)}
