"""Output files and folders appear complete or not at all."""

import errno
import os
from pathlib import Path

import pytest
import torch

from rayzer import InputError
from rayzer.files import (
    check_output_folder,
    exists,
    file_sha256,
    output_file,
    output_folder,
    read_tensors,
    save_tensors,
)


def files(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def write(folder, content, overwrite=False, error=None):
    with output_folder(folder, overwrite) as staging:
        for name, text in content.items():
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
            (staging / name).write_text(text)
        if error is not None:
            raise error


def message(function, *args):
    with pytest.raises(InputError) as error:
        function(*args)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", ["out", "a/b/out", "größe ß 1"])
def test_everything_arrives(tmp_path, name):
    content = {"page.html": "1", "frames/0.png": "2", ".hidden": "3"}
    write(tmp_path / name, content)
    assert files(tmp_path / name) == content


def test_nothing_is_there_before_the_end(tmp_path):
    with output_folder(tmp_path / "out") as staging:
        (staging / "x").write_text("1")
        assert [entry.name for entry in (tmp_path / "out").iterdir()] == [".partial"]
    assert files(tmp_path / "out") == {"x": "1"}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_leaves_nothing(tmp_path, error):
    with pytest.raises(error):
        write(tmp_path / "out", {"x": "1"}, error=error)
    assert list(tmp_path.iterdir()) == []


def test_an_error_leaves_what_was_there(tmp_path):
    out = tmp_path / "out"
    write(out, {"x": "old"})
    with pytest.raises(RuntimeError):
        write(out, {"x": "new"}, overwrite=True, error=RuntimeError)
    assert files(out) == {"x": "old"}
    assert [entry.name for entry in out.iterdir()] == ["x"]


def test_an_empty_folder_stays_after_an_error(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(RuntimeError), output_folder(tmp_path / "out"):
        raise RuntimeError
    assert (tmp_path / "out").is_dir()


def test_a_folder_with_something_in_it_is_refused(tmp_path):
    out = tmp_path / "out"
    write(out, {"mine.txt": "keep"})
    for attempt in (write, lambda folder, _: check_output_folder(folder, False)):
        text = message(attempt, out, {})
        assert str(out) in text
        assert "--overwrite" in text
    assert files(out) == {"mine.txt": "keep"}


def test_overwrite_replaces_only_the_same_names(tmp_path):
    out = tmp_path / "out"
    write(out, {"page.html": "old", "frames/0.png": "old", "frames/1.png": "old", "mine.txt": "keep"})
    write(out, {"page.html": "new", "frames/0.png": "new"}, overwrite=True)
    assert files(out) == {"page.html": "new", "frames/0.png": "new", "mine.txt": "keep"}


def test_overwrite_exchanges_files_and_folders(tmp_path):
    out = tmp_path / "out"
    write(out, {"a": "file", "b/c": "folder"})
    write(out, {"a/c": "folder", "b": "file"}, overwrite=True)
    assert files(out) == {"a/c": "folder", "b": "file"}


def test_overwrite_does_not_follow_links(tmp_path):
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    write(elsewhere, {"x": "keep"})
    out.mkdir()
    (out / "frames").symlink_to(elsewhere)
    write(out, {"frames/0.png": "new"}, overwrite=True)
    assert files(elsewhere) == {"x": "keep"}
    assert files(out) == {"frames/0.png": "new"}


def test_leftovers_of_a_killed_run_are_cleared_away(tmp_path):
    out = tmp_path / "out"
    (out / ".partial").mkdir(parents=True)
    (out / ".partial" / "half.png").write_text("half")
    write(out, {"x": "1"})
    assert files(out) == {"x": "1"}
    assert not (out / ".partial").exists()


def test_a_file_in_the_place_of_the_staging_folder(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / ".partial").write_text("?")
    write(out, {"x": "1"})
    assert files(out) == {"x": "1"}


def test_out_is_a_file(tmp_path):
    (tmp_path / "out").write_text("mine")
    for overwrite in (False, True):
        text = message(write, tmp_path / "out", {}, overwrite)
        assert str(tmp_path / "out") in text
        assert "is a file" in text
    assert (tmp_path / "out").read_text() == "mine"


def test_a_parent_is_a_file(tmp_path):
    (tmp_path / "file").write_text("mine")
    assert "file/out" in message(write, tmp_path / "file" / "out", {})


def test_a_name_that_is_too_long(tmp_path):
    assert "too long" in message(write, tmp_path / ("x" * 300), {})
    assert not exists(tmp_path / ("x" * 300))
    assert not exists(Path("\0"))


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_place_that_cannot_be_written(tmp_path, monkeypatch, number):
    def refuse(self, *args, **options):
        raise OSError(number, os.strerror(number), str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    text = message(write, tmp_path / "out", {})
    assert str(tmp_path / "out") in text
    assert os.strerror(number) in text
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_looked_at(tmp_path, monkeypatch):
    def refuse(self, **options):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "exists", refuse)
    assert "Permission denied" in message(check_output_folder, tmp_path / "out", False)


def test_a_disk_that_fills_up_leaves_nothing(tmp_path):
    with pytest.raises(InputError, match=r"out: .*No space left"), output_folder(tmp_path / "out"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_tensors_can_be_read_by_others(tmp_path):
    from safetensors import safe_open

    tensor = torch.arange(6.0).reshape(2, 3).T.requires_grad_()
    save_tensors({"a": tensor}, tmp_path / "t.safetensors", {"note": "x"})
    assert (tmp_path / "t.safetensors").stat().st_mode & 0o777 == 0o644
    with safe_open(tmp_path / "t.safetensors", "pt") as file:
        assert torch.equal(file.get_tensor("a"), tensor)
        assert file.metadata() == {"note": "x"}


def test_an_output_file_replaces_the_old_one_when_it_is_complete(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with output_file(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert files(tmp_path) == {"a.txt": "new"}


def write_half(path):
    path.write_text("half")
    raise OSError(errno.ENOSPC, "No space left on device")


def test_an_output_file_is_left_alone_on_an_error(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(OSError, match="space"), output_file(path) as partial:
        write_half(partial)
    assert files(tmp_path) == {"a.txt": "old"}


def test_checksum_of_a_file(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")  # the example of FIPS 180-2
    assert file_sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_tensors_are_read_back_and_damage_is_found(tmp_path):
    path = tmp_path / "x.pt"
    torch.save({"a": torch.arange(400)}, path)
    assert torch.equal(read_tensors(path)["a"], torch.arange(400))
    content = bytearray(path.read_bytes())
    content[content.index(torch.arange(400).numpy().tobytes()) + 800] ^= 1
    path.write_bytes(content)
    assert f"{path}: damaged" in message(read_tensors, path)
    assert str(tmp_path / "no.pt") in message(read_tensors, tmp_path / "no.pt")
