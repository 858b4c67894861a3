from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import curate
from curate.core.errors import CurateError, DataError, SetupError, UsageError
from curate.manifest import store
from curate.pipeline.object_output import fetched
from curate.publishing.hub.gate import GateError
from curate.publishing.hub.push import PushReport
from curate.publishing.hub.retry import MovedError
from curate.publishing.hub.upload import PROGRESS_MARK
from tests.hub.server import Fault, Hub
from tests.publishing.outs import CANARY, published_card, sealed_secrets, write_answers

REPO = "somebody/street-scenes"


@pytest.fixture
def place(publishable: Path, tmp_path: Path) -> Path:
    return shutil.copytree(publishable, tmp_path / "place")


@pytest.fixture
def out(place: Path) -> Path:
    return place / "out"


def push(out: Path, repo_id: str = REPO, **options: object) -> PushReport:
    return curate.push(out, repo_id, curate.PushOptions(workers=1, **options))  # type: ignore[arg-type]


def test_the_published_tree_is_the_whitelist(hub: Hub, out: Path) -> None:
    report = push(out)
    tree = hub.tree(REPO)
    tree.pop(".gitattributes")
    assert set(tree) == set(report.files)
    images = {path for path in tree if path.startswith("data/")}
    assert images == {
        f"data/{path.relative_to(out / 'data').as_posix()}"
        for path in (out / "data").rglob("*") if path.is_file()
    }  # fmt: skip
    for path in images:
        assert tree[path] == (out / path).read_bytes()
    assert tree["README.md"] == published_card(out, REPO)
    repo = hub.repos[REPO]
    assert repo.private
    assert repo.tags == {report.tag: report.revision}
    assert repo.head.oid == report.revision
    log = [json.loads(line) for line in (out / "manifest/log.jsonl").read_text().splitlines()]
    assert log[-1]["revision"] == report.revision
    assert curate.push(out, REPO, curate.PushOptions(workers=1)).revision == report.revision


def test_no_byte_of_an_original_or_of_the_sealed_manifest_is_sent(hub: Hub, place: Path) -> None:
    """Not in files, not in what a preupload samples, not in a commit's text."""
    out = place / "out"
    originals = b"".join(path.read_bytes() for path in (place / "photos").rglob("*.*"))
    assert CANARY in originals
    push(out, full=True)
    curate.push(out, REPO, curate.PushOptions(workers=1, form="parquet"))
    received = hub.received()
    assert b"data/train/cat/00001.bmp" in received  # what may be sent was recorded
    for secret in sealed_secrets(place):
        assert secret not in received


def unverified(out: Path) -> None:
    (out / "manifest/run.json").unlink()


def edited_record(out: Path) -> None:
    """Records that say that no image has a face."""
    part = next((out / "manifest/records").iterdir())
    entries = [replace(entry, faces=(), hidden=()) for entry in store.iter_part(part)]
    store.save_part(entries, part)


def foreign_part(out: Path) -> None:
    part = next((out / "manifest/records").iterdir())
    pq.write_table(pq.read_table(part), part)


def original_put_back(out: Path) -> None:
    shutil.copyfile(out.parent / "photos/train/cat/00001.bmp", out / "data/train/cat/00001.bmp")


def image_added(out: Path) -> None:
    shutil.copyfile(out.parent / "photos/train/cat/cut.jpg", out / "data/train/cat/cut.jpg")


def image_removed(out: Path) -> None:
    (out / "data/train/cat/00001.bmp").unlink()


def link(out: Path) -> None:
    path = out / "data/train/cat/00001.bmp"
    path.unlink()
    path.symlink_to(out.parent / "photos/train/cat/00001.bmp")


def metadata_added(out: Path) -> None:
    path = out / "data/train/cat/exif.jpg"
    path.write_bytes(path.read_bytes() + CANARY)


def extra_beside(out: Path) -> None:
    (out / "faces.json").write_bytes(CANARY)


def picture_in_the_card(out: Path) -> None:
    import base64

    text = base64.b64encode((out.parent / "photos/train/cat/00001.bmp").read_bytes()).decode()
    with (out / "README.md").open("a") as file:
        file.write(f"![me](data:image/bmp;base64,{text})\n")


def picture_in_a_kept_section(out: Path) -> None:
    import base64

    lines = base64.encodebytes((out.parent / "photos/train/cat/00001.bmp").read_bytes()).decode()
    text = (out / "README.md").read_text()
    mark = "<!-- keep: notes -->\n"
    assert mark in text
    (out / "README.md").write_text(text.replace(mark, mark + lines))


def another_picture(out: Path) -> None:
    shutil.copyfile(out.parent / "photos/train/cat/exif.jpg", out / "before_after.jpg")


def figure_changed(out: Path) -> None:
    text = (out / "README.md").read_text()
    assert "as count -->7<" in text
    (out / "README.md").write_text(text.replace("as count -->7<", "as count -->8<", 1))


def card_absent(out: Path) -> None:
    (out / "README.md").unlink()


def croissant_changed(out: Path) -> None:
    text = (out / "croissant.json").read_text()
    (out / "croissant.json").write_text(text.replace("Photographs", "Pictures"))


def unknown_key(out: Path) -> None:
    with (out / "card.toml").open("a") as file:
        file.write("\n[datasett]\ntitle = 'x'\n")


def no_answer(out: Path) -> None:
    write_answers(out, title='""')


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (unverified, r"run\.json is missing; restore it"),
        (edited_record, r"nothing was sent: manifest/run\.json: manifest: counts\.faces is"),
        (foreign_part, r"nothing was sent: manifest: part-00000\.parquet has further metadata"),
        (original_put_back, r"nothing was sent: data/train/cat/00001\.bmp: changed"),
        (image_added, r"nothing was sent: data/train/cat/cut\.jpg: extra"),
        (image_removed, r"nothing was sent: data/train/cat/00001\.bmp: missing"),
        (link, r"nothing was sent: data/train/cat/00001\.bmp"),
        (metadata_added, r"nothing was sent: data/train/cat/exif\.jpg: changed"),
        (extra_beside, r"nothing was sent: faces\.json: extra"),
        (picture_in_the_card, r"nothing was sent: README\.md"),
        (picture_in_a_kept_section, r"README\.md"),
        (another_picture, r"nothing was sent: before_after\.jpg: is not the example picture"),
        (
            figure_changed,
            r"README\.md: manifest/run\.json#/counts/written is 7, and the card",
        ),
        (card_absent, r"nothing was sent: README\.md"),
        (croissant_changed, r"nothing was sent: croissant\.json"),
        (
            unknown_key,
            r"nothing was sent: card\.toml: unknown table \[datasett\] \(did you mean dataset\?\)",
        ),
        (
            no_answer,
            r"card\.toml: dataset\.title has no answer; edit .*card\.toml, then run",
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_must_not_be_published_is_named_and_nothing_is_sent(
    hub: Hub, out: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(out)
    with pytest.raises(DataError, match=message) as raised:
        push(out)
    assert "\n" not in str(raised.value)
    assert hub.repos == {}
    assert all(method == "GET" for method, _ in hub.requests)
    assert CANARY not in hub.received()


def test_every_refusal_names_file_and_reason(hub: Hub, out: Path) -> None:
    original_put_back(out)
    image_added(out)
    with pytest.raises(GateError) as raised:
        push(out)
    assert {(one.file, one.reason.partition(":")[0]) for one in raised.value.refusals} == {
        ("data/train/cat/00001.bmp", "changed"),
        ("data/train/cat/00001.bmp", "leak"),
        ("data/train/cat/cut.jpg", "extra"),
    }


def test_a_source_that_has_more_than_the_manifest_is_incomplete(hub: Hub, place: Path) -> None:
    """104 images went missing in silence from another release."""
    push(place / "out", source=str(place / "photos"))
    shutil.copyfile(place / "photos/train/cat/00001.bmp", place / "photos/train/cat/more.bmp")
    with pytest.raises(GateError, match=r"train/cat/more\.bmp: source: is in SOURCE, but not in"):
        push(place / "out", source=str(place / "photos"))


def test_a_private_repository_is_the_default_and_public_comes_last(hub: Hub, out: Path) -> None:
    seen: list[bool] = []
    push(out, public=True, watch=lambda _: seen.append(hub.repos[REPO].private))
    assert seen
    assert all(seen)
    assert not hub.repos[REPO].private
    with pytest.raises(UsageError, match="is public; add --public"):
        push(out)


def test_gating_is_set_before_anything_is_sent(hub: Hub, out: Path) -> None:
    push(out, gated="manual")
    assert hub.repos[REPO].gated == "manual"
    gate = [number for number, (_, path) in enumerate(hub.requests) if "settings" in path]
    sent = [number for number, (_, path) in enumerate(hub.requests) if "preupload" in path]
    assert gate[0] < sent[0]
    text = hub.tree(REPO)["README.md"].decode()
    assert "extra_gated_prompt: I will not try to identify anyone." in text


def test_gating_needs_terms(hub: Hub, out: Path) -> None:
    write_answers(out, terms='""')
    curate.write_card(out)
    with pytest.raises(UsageError, match=r"--gated needs access\.terms"):
        push(out, gated="auto")


def test_another_dataset_of_the_same_name_is_left_alone(hub: Hub, out: Path) -> None:
    hub.create(REPO)
    hub.commit(REPO, {"data/train.parquet": b"PAR1"})
    with pytest.raises(DataError, match=r"holds files that curate did not put there.*another REPO"):
        push(out)
    assert hub.tree(REPO)["data/train.parquet"] == b"PAR1"


def test_a_published_dataset_of_another_title_is_left_alone(hub: Hub, out: Path) -> None:
    push(out)
    write_answers(out, title='"Other scenes"', version='"2.0.0"')
    curate.write_card(out)
    shutil.rmtree(out.with_name("out.push"))
    with pytest.raises(DataError, match=r"another dataset \('Street scenes'"):
        push(out)


def test_the_tag_names_the_newest_commit_of_its_manifest(hub: Hub, out: Path) -> None:
    """The card, or the form, changes and the images do not."""
    first = push(out)
    write_answers(out, description='"Photographs of streets and squares."')
    curate.write_card(out)
    second = push(out)
    assert hub.repos[REPO].tags == {second.tag: second.revision}
    assert second.revision != first.revision
    shutil.rmtree(out.with_name("out.push"))  # the tag is what says that nobody else was here
    third = push(out, form="parquet")
    assert third.version == "1.1.0"
    assert third.tag == first.tag
    assert hub.repos[REPO].tags == {third.tag: third.revision}
    shutil.rmtree(out.with_name("out.push"))
    assert push(out, form="parquet").revision == third.revision


def test_a_lost_answer_while_a_tag_is_moved_is_survived(
    hub: Hub, out: Path, waits: list[float]
) -> None:
    push(out)
    write_answers(out, description='"Photographs of streets and squares."')
    curate.write_card(out)
    hub.faults.append(Fault("DELETE", "/tag/", cut="after"))
    report = push(out)
    assert hub.repos[REPO].tags == {report.tag: report.revision}


def test_a_card_that_arrived_with_other_bytes_is_noticed(hub: Hub, out: Path) -> None:
    push(out)
    for name in ("README.md", "CITATION.cff", "manifest/publication.json"):
        hub.faults[:] = [Fault("GET", f"resolve/.*{name}", times=99, corrupt=True)]
        with pytest.raises(DataError):
            push(out, full=True)


def test_a_card_of_another_form_says_so(hub: Hub, out: Path) -> None:
    curate.write_card(out, curate.CardOptions(form="parquet"))
    with pytest.raises(GateError, match=r"give the same --as.*run `curate card"):
        push(out)
    assert hub.repos == {}
    assert push(out, form="parquet").form == "parquet"


def test_a_dry_run_does_not_disturb_a_push(hub: Hub, out: Path) -> None:
    from curate.core.errors import LockedError
    from curate.storage.lock import FolderLock

    with FolderLock(out.with_name("out.push") / "lock"), pytest.raises(LockedError):
        push(out, dry_run=True)


@pytest.mark.parametrize("field", ["split", "category"])
def test_counts_by_split_and_class_are_compared(hub: Hub, place: Path, field: str) -> None:
    """A manifest that is sound in itself, and counts an image where the data do not have it."""
    from curate.core.entries import Outcome

    out = place / "out"
    records = out / "manifest/records"
    for part in sorted(records.iterdir()):
        entries = [
            replace(entry, **{field: "other"}) if entry.id == "train/cat/00001.bmp" else entry
            for entry in store.iter_part(part)
        ]
        assert all(entry.outcome in Outcome for entry in entries)
        store.save_part(entries, part)
    run = store.load_run(out / "manifest")
    run["records"]["sha256"] = store.digest_parts(records)
    store.save_json(run, out / "manifest/run.json")
    curate.write_card(out)
    curate.write_checksums(out)
    with pytest.raises(GateError) as raised:
        push(out, source=str(place / "photos"))
    split, kind = ("other", "cat") if field == "split" else ("train", "other")
    assert [
        (one.file, one.reason)
        for one in raised.value.refusals
        if f"{split!r} and" in one.reason and f"{kind!r}," in one.reason
    ] == [
        (
            place_name,
            f"has 0 images of split {split!r} and class {kind!r}, and the manifest accounts for 1",
        )
        for place_name in ("data", "SOURCE")
    ]
    assert hub.repos == {}


def test_an_empty_repository_made_by_hand_is_used(hub: Hub, out: Path) -> None:
    hub.create(REPO)
    push(out)
    assert "data/train/cat/00001.bmp" in hub.tree(REPO)


def test_a_deleted_repository_is_begun_anew(hub: Hub, out: Path) -> None:
    push(out)
    del hub.repos[REPO]
    push(out)
    assert "data/train/cat/00001.bmp" in hub.tree(REPO)


def test_a_head_moved_by_somebody_else_is_never_overwritten(hub: Hub, out: Path) -> None:
    push(out)
    moved = hub.commit(REPO, {"README.md": b"---\npretty_name: Street scenes\n---\nan edit\n"})
    with pytest.raises(MovedError, match=f"--parent {moved}"):
        push(out)
    shutil.rmtree(out.with_name("out.push"))  # on another machine there is no state
    with pytest.raises(MovedError, match=f"--parent {moved}"):
        push(out)
    assert b"an edit" in hub.tree(REPO)["README.md"]
    push(out, parent=moved)
    assert hub.tree(REPO)["README.md"] == published_card(out, REPO)


def test_a_corrupted_download_is_noticed(hub: Hub, out: Path) -> None:
    hub.faults.append(Fault("GET", r"resolve/.*00001\.bmp", times=99, corrupt=True))
    with pytest.raises(CurateError, match=r"00001\.bmp"):
        push(out, full=True)


def test_a_wrong_token_is_one_line(hub: Hub, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(SetupError, match="hf auth login"):
        push(out)
    assert hub.repos == {}


def test_an_unfinished_upload_says_so(hub: Hub, out: Path, waits: list[float]) -> None:
    hub.faults.append(Fault("POST", "/commit/", skip=1, times=99, status=500))
    with pytest.raises(SetupError, match="run the same command again"):
        push(out)
    assert PROGRESS_MARK.encode() in hub.tree(REPO)["README.md"]
    assert hub.repos[REPO].tags == {}
    hub.faults.clear()
    shutil.rmtree(out.with_name("out.push"))  # it goes on without a state, too
    report = push(out)
    assert PROGRESS_MARK.encode() not in hub.tree(REPO)["README.md"]
    assert hub.repos[REPO].tags == {report.tag: report.revision}


def test_a_dry_run_sends_nothing_and_asks_nobody(
    hub: Hub, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    report = push(out, dry_run=True)
    assert report.to == f"hf:{REPO}"
    assert "data/train/cat/00001.bmp" in report.files
    assert not any(path.startswith("manifest/records/") for path in report.files)
    assert hub.requests == []
    assert not [path for path in out.parent.iterdir() if ".push" in path.name]
    assert push(out, dry_run=True, form="parquet").files
    assert not [path for path in out.parent.iterdir() if ".push" in path.name]


def test_a_new_version_deletes_what_left_and_says_what_changed(hub: Hub, place: Path) -> None:
    out = place / "out"
    first = push(out)
    (place / "photos/train/cat/00001.bmp").unlink()
    shutil.copyfile(place / "photos/train/dog/00002.bmp", place / "photos/train/dog/new.bmp")
    text = json.loads((place / "faces.json").read_text())
    text["images"].append({"id": 2000, "file_name": "train/dog/new.bmp"})
    (place / "faces.json").write_text(json.dumps(text))
    answers = (out / "card.toml").read_text()
    shutil.rmtree(out)
    shutil.rmtree(place / "out.push")
    session = curate.Session(faces=place / "faces.json", workers=1)
    curate.blur(place / "photos", out, session=session)
    (out / "card.toml").write_text(answers)
    curate.write_card(out)
    second = push(out)
    tree = hub.tree(REPO)
    assert "data/train/cat/00001.bmp" not in tree
    assert "data/train/dog/new.bmp" in tree
    assert second.version == "1.1.0"
    assert second.changes[0] == "files: 1 added, 1 removed, 0 changed"
    card = tree["README.md"].decode()
    assert "Version | 1.1.0" in card
    assert "files: 1 added, 1 removed, 0 changed" in card
    assert "**1.0.0** (2026-03-01): Published before." in card
    repo = hub.repos[REPO]
    assert first.revision in [commit.oid for commit in repo.commits]
    assert set(repo.tags) == {first.tag, second.tag}
    assert push(out).version == "1.1.0"


def test_a_person_can_have_their_image_removed(hub: Hub, out: Path) -> None:
    push(out)
    told: list[str] = []
    report = push(out, withdraw=("train/cat/00001.bmp",), notify=told.append)
    assert "data/train/cat/00001.bmp" not in hub.tree(REPO)
    assert report.version == "1.0.1"
    assert not (out / "data/train/cat/00001.bmp").exists()
    assert list(curate.iter_problems(out, None, 1)) == []
    assert "| Withheld: withdrawn | " in hub.tree(REPO)["README.md"].decode()
    assert any("earlier revisions" in line for line in told)
    with pytest.raises(UsageError, match="is not a record"):
        push(out, withdraw=("train/cat/none.bmp",))


def test_an_image_is_withdrawn_from_an_out_on_a_storage_too(hub: Hub, out: Path) -> None:
    import fsspec

    place, system = "memory://bucket/scenes", fsspec.filesystem("memory")
    system.put(str(out), "/bucket/scenes", recursive=True)
    path = "/bucket/scenes/data/train/cat/00001.bmp"
    assert system.exists(path)
    try:
        options = curate.PushOptions(withdraw=("train/cat/00001.bmp",), workers=1)
        curate.push(place, REPO, options)
        assert not system.exists(path)
        with fetched(place) as copy:  # workers cannot see the memory of this process
            assert list(curate.iter_problems(copy, None, 1)) == []
        assert "data/train/cat/00001.bmp" not in hub.tree(REPO)
    finally:
        system.store.clear()
        system.pseudo_dirs[:] = [""]


def test_yaml_and_sections_of_others_survive_a_regeneration(hub: Hub, out: Path) -> None:
    text = (out / "README.md").read_text()
    text = text.replace("license: cc-by-4.0\n", "license: cc-by-4.0\narxiv: '2401.00001'\n", 1)
    text = text.replace("<!-- keep: notes -->\n", "<!-- keep: notes -->\nWritten by a person.\n", 1)
    (out / "README.md").write_text(text)
    curate.write_card(out)
    push(out)
    card = hub.tree(REPO)["README.md"].decode()
    assert "arxiv: '2401.00001'" in card
    assert "Written by a person." in card


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault("POST", "/repos/create", times=9, status=402), "storage quota is used up"),
        (Fault("POST", "/repos/create", times=9, status=403), "no permission for this"),
        (Fault("PUT", "/lfs/", times=99, status=507), "storage quota is used up"),
        (Fault("POST", "/preupload/", times=9, status=413), "use --as parquet"),
        (
            Fault("GET", r"datasets/[^/]+/[^/]+$", times=9, status=403,
                  headers={"X-Error-Code": "GatedRepo"}),
            "is gated; ask for access",
        ),
    ],
    ids=lambda value: str(getattr(value, "status", "")),
)  # fmt: skip
def test_what_the_hub_does_not_allow_is_one_clear_line(
    hub: Hub, out: Path, waits: list[float], fault: Fault, message: str
) -> None:
    hub.faults.append(fault)
    with pytest.raises(SetupError, match=message) as raised:
        push(out)
    assert "\n" not in str(raised.value)
    assert max(waits, default=0) < 1  # nobody waits for what will not change


def test_an_unblurred_twin_of_an_image_with_a_face_is_refused(hub: Hub, place: Path) -> None:
    """The same photo twice, and a face file that knows the face of one of them alone."""
    out, faces = place / "out", json.loads((place / "faces.json").read_text())
    shutil.copyfile(place / "photos/train/cat/00001.bmp", place / "photos/train/dog/twin.bmp")
    faces["images"].append({"id": 3000, "file_name": "train/dog/twin.bmp"})
    (place / "faces.json").write_text(json.dumps(faces))
    answers = (out / "card.toml").read_text()
    shutil.rmtree(out)
    curate.blur(
        place / "photos", out, session=curate.Session(faces=place / "faces.json", workers=1)
    )
    (out / "card.toml").write_text(answers)
    curate.write_card(out)
    with pytest.raises(GateError) as raised:
        push(out, source=str(place / "photos"))
    assert [one.file for one in raised.value.refusals] == ["data/train/dog/twin.bmp"]
    assert "its near-duplicate 'train/cat/00001.bmp' has one" in raised.value.refusals[0].reason
    assert hub.repos == {}
