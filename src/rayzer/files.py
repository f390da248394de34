"""Output files and folders that appear complete or not at all; checksums; files of tensors."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rayzer.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

PARTIAL = ".partial"  # inside the output folder, so that the move at the end stays on one file system
UNREADABLE = (
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,  # includes NotImplementedError
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)  # what torch.load and zipfile raise for damaged files


def exists(path: Path) -> bool:
    """Whether there is a file or folder; a name that no file can have (too long, say) does not exist."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def is_file(path: Path) -> bool:
    """Whether there is such a file, as far as we may look."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # asking about a file in a folder that is not ours to look into raises
        return False


def is_folder(path: Path) -> bool:
    """Whether there is such a folder, as far as we may look."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


@contextmanager
def output_folder(folder: Path, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty staging folder; what is in it at the end moves into `folder`, on an error nothing does.

    Args:
        folder: made if missing.
        overwrite: replace entries of the same name in a folder that is not empty; others stay.

    Raises:
        InputError: if the folder is not empty (without `overwrite`), is a file, or cannot be written.
    """
    check_output_folder(folder, overwrite)
    existed = folder.exists()
    staging = folder / PARTIAL
    try:
        remove_entry(staging)
        staging.mkdir(parents=True)
    except OSError as error:
        raise _unwritable(folder, error) from None
    try:
        yield staging
        for entry in sorted(staging.iterdir()):
            move_entry(entry, folder / entry.name)
        staging.rmdir()
    except BaseException as error:
        shutil.rmtree(staging, ignore_errors=True)
        if not existed and not any(folder.iterdir()):
            folder.rmdir()
        if isinstance(error, OSError):  # disk full, quota, a device that went away
            raise _unwritable(folder, error) from error
        raise


@contextmanager
def output_file(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; at the end it becomes `path`, on an error it goes and `path` stays."""
    partial = path.with_name(path.name + PARTIAL)
    try:
        yield partial
        partial.replace(path)
    finally:
        if exists(partial):
            partial.unlink()


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold a file (made if missing) or folder against other processes that ask for it; it is free when this one ends.

    File systems without locks grant it to everybody.

    Raises:
        BlockingIOError: if another process holds it.
        OSError: if it cannot be opened.
    """
    import fcntl

    lock = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(lock)


def check_output_file(path: Path, overwrite: bool) -> None:
    """Raise InputError if `output_file` could not make a file of this name, or if it exists (without `overwrite`)."""
    if is_folder(path):
        raise InputError(f"{path}: is a folder; give the name of a file")
    if exists(path) and not overwrite:
        raise InputError(f"{path}: exists; choose another name or add --overwrite")


def check_output_folder(folder: Path, overwrite: bool) -> None:
    """Raise InputError if `output_folder` would refuse `folder`; long work should not start before this."""
    try:
        in_the_way = folder.exists() and not folder.is_dir()
        full = not overwrite and folder.is_dir() and any(entry.name != PARTIAL for entry in folder.iterdir())
    except (OSError, ValueError) as error:
        raise _unwritable(folder, error) from None
    if in_the_way:
        raise InputError(f"{folder}: is a file; choose another output folder")
    if full:
        raise InputError(f"{folder}: exists and is not empty; choose another output folder or add --overwrite")


def _unwritable(folder: Path, error: OSError | ValueError) -> InputError:
    reason = (isinstance(error, OSError) and error.strerror) or str(error)
    return InputError(f"{folder}: cannot write there ({reason}); choose another output folder")


def save_tensors(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file that others may read, too (the library makes it private).

    Tensors are copied, because the library refuses those that share memory.
    """
    import torch

    copies = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in tensors.items()
    }
    write_tensors(copies, path, metadata)


def write_tensors(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """As `save_tensors`, of contiguous tensors on the CPU that share no memory: without copying them."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(tensors, path, metadata)
    except SafetensorError as error:  # what the library makes of a full disk
        raise OSError(str(error)) from error
    path.chmod(0o644)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_tensors(path: Path) -> object:
    """What `torch.save` wrote, on the CPU, read without running any code from it.

    Raises:
        InputError: if the file is damaged, cannot be read, or holds more than tensors in lists and dictionaries.
    """
    import torch

    try:
        damaged = _first_damaged_part(path)
        content = None if damaged else torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise InputError(
            f"{path}: not a file of tensors; it is damaged, or holds objects that could run code (never loaded)"
        ) from None
    except UNREADABLE:
        raise InputError(f"{path}: not a readable file of tensors; copy or download it again") from None
    if damaged:
        raise InputError(f"{path}: damaged, {damaged} does not match its checksum; copy or download it again")
    return content


def _first_damaged_part(path: Path) -> str | None:
    """The first part of a `torch.save` file whose checksum is wrong (torch does not look); old files have none."""
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as file:
        return file.testzip()


def move_entry(source: Path, destination: Path) -> None:
    """Move a file or folder on one file system; it replaces whatever has that name."""
    if source.is_dir() or (destination.is_dir() and not destination.is_symlink()):
        remove_entry(destination)
    source.replace(destination)


def remove_entry(path: Path) -> None:
    """Remove a file, a link (not what it points to) or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif path.is_symlink() or path.exists():
        path.unlink()
