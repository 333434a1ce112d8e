"""training.base.files: what is written is whole or not there."""

from __future__ import annotations

import multiprocessing
import os
import signal
import stat
import time
from pathlib import Path

import pytest

from training.base.files import replacing, write_text


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def make_folder(folder: Path, text: str) -> None:
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "file").write_text(text)


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "numbers.npz"
    with replacing(path) as file:
        assert file.parent == tmp_path and file.suffix == ".npz" and file.name.startswith(".tmp-") and not file.exists()
        file.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new" and names(tmp_path) == ["numbers.npz"]


@pytest.mark.parametrize("error", [OSError("the disk is full"), KeyboardInterrupt()])
def test_what_fails_leaves_the_file_before_and_nothing_else(error: BaseException, tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old")
    with pytest.raises(type(error)), replacing(path) as file:
        file.write_text("half")
        raise error
    assert path.read_text() == "old" and names(tmp_path) == ["file"]
    with pytest.raises(FileNotFoundError), replacing(path):
        pass  # nothing was written
    assert path.read_text() == "old" and names(tmp_path) == ["file"]


def test_a_folder_takes_the_place_of_another_with_all_that_is_in_it(tmp_path: Path) -> None:
    place = tmp_path / "folder"
    for text in ("first", "second"):
        with replacing(place) as folder:
            make_folder(folder, text)
        assert (place / "inner" / "file").read_text() == text and names(tmp_path) == ["folder"]
    with pytest.raises(ZeroDivisionError), replacing(place) as folder:
        make_folder(folder, "third")
        raise ZeroDivisionError
    assert (place / "inner" / "file").read_text() == "second" and names(tmp_path) == ["folder"]


def test_a_folder_that_cannot_be_renamed_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, rename = tmp_path / "folder", os.replace
    make_folder(place, "old")

    def refuse(source: Path, target: Path) -> None:
        if Path(source).name.startswith(".tmp-"):
            raise PermissionError("refused")
        rename(source, target)

    with monkeypatch.context() as patch, pytest.raises(PermissionError), replacing(place) as folder:
        make_folder(folder, "new")
        patch.setattr(os, "replace", refuse)
    assert (place / "inner" / "file").read_text() == "old" and names(tmp_path) == ["folder"]


def test_modes_stay(tmp_path: Path) -> None:
    path, umask = tmp_path / "file", os.umask(0o027)
    try:
        write_text(path, "new")
        assert mode(path) == 0o640
        for kept in (0o600, 0o664, 0o444):
            path.chmod(kept)
            write_text(path, f"{kept:o}")
            assert (path.read_text(), mode(path)) == (f"{kept:o}", kept)
        with replacing(tmp_path / "folder") as folder:
            make_folder(folder, "text")
            (folder / "inner" / "file").chmod(0o400)  # as git's objects, which go along with an exported model
        assert mode(tmp_path / "folder/inner/file") == 0o400
    finally:
        os.umask(umask)


def test_every_file_is_on_disk_before_the_name_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    fsync, rename = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (done.append(os.path.basename(os.readlink(f"/proc/self/fd/{handle}"))), fsync(handle)))
    monkeypatch.setattr(os, "replace", lambda source, target: (done.append("rename"), rename(source, target)))
    with replacing(tmp_path / "folder") as folder:
        make_folder(folder, "text")
        (folder / "other").write_text("text")
        (folder / "link").symlink_to("nowhere")
    before, after = done[: done.index("rename")], done[done.index("rename") + 1 :]
    assert sorted(before) == sorted(["file", "other", "inner", f".tmp-{os.getpid()}-folder"]) and after == [tmp_path.name]
    done.clear()
    write_text(tmp_path / "pointer", "text")
    assert done == [f".tmp-{os.getpid()}-pointer", "rename", tmp_path.name]


def test_a_link_leads_to_the_new_file_and_a_device_stays_one(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "target").read_text() == "new"
    write_text(Path(os.devnull), "text")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def _write_slowly(path: Path, begun: Path) -> None:
    with replacing(path) as file:
        file.write_text("half")
        begun.touch()
        time.sleep(60)


def test_after_a_kill_the_file_before_is_there_and_the_next_one_can_be_written(tmp_path: Path) -> None:
    path, begun = tmp_path / "file", tmp_path / "begun"
    write_text(path, "old")
    writer = multiprocessing.get_context("fork").Process(target=_write_slowly, args=(path, begun))
    writer.start()
    while not begun.exists():
        time.sleep(0.01)
    assert writer.pid
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    assert path.read_text() == "old"
    assert names(tmp_path) == [f".tmp-{writer.pid}-file", "begun", "file"]
    write_text(path, "new")
    assert path.read_text() == "new"
