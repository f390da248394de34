"""Hub ids, with the hub replaced by a local folder."""

import shutil
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

import rayzer
from rayzer import InputError
from rayzer.model.weights import fingerprint, peek_config


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The folder that any hub id resolves to, and what was asked of it."""
    folder = tmp_path / "snapshot"
    folder.mkdir()
    asked = []

    def download(repo_id, allow_patterns=None, **options):
        asked.append((repo_id, allow_patterns))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.chdir(tmp_path)
    return folder, asked


def message(*args):
    with pytest.raises(InputError) as error:
        rayzer.load_model(*args)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_our_folder(hub, tiny_model):
    folder, asked = hub
    model = tiny_model()
    rayzer.save_model(model, folder)
    shutil.copy(folder / "config.json", folder / "extra.pt")  # not looked at
    assert fingerprint(rayzer.load_model("owner/name")) == fingerprint(model)
    repo, patterns = asked[0]
    assert repo == "owner/name"
    assert set(patterns) == {"config.json", "model.safetensors", "SHA256SUMS", "*.pt"}


def test_a_bare_reference_file(hub, recordings_folder):
    shutil.copy(recordings_folder / "rayzer_tiny.pt", hub[0] / "weights.pt")
    yaml = recordings_folder / "rayzer_tiny.yaml"
    expected = fingerprint(rayzer.load_model(recordings_folder / "rayzer_tiny.pt", yaml))
    assert fingerprint(rayzer.load_model("owner/name", str(yaml))) == expected
    assert "config" in message("owner/name")


def test_one_of_several_files_must_be_named(hub, recordings_folder):
    folder, asked = hub
    yaml = recordings_folder / "rayzer_tiny.yaml"
    for name in ("a.pt", "b.pt"):
        shutil.copy(recordings_folder / "rayzer_tiny.pt", folder / name)
    text = message("owner/name", yaml)
    assert "a.pt, b.pt" in text
    assert "owner/name/file.pt" in text
    rayzer.load_model("owner/name/b.pt", yaml)
    assert asked[-1] == ("owner/name", ["b.pt"])
    assert "owner/name/c.pt" in message("owner/name/c.pt", yaml)


def test_a_repository_without_weights(hub):
    assert "found none" in message("owner/name")


def test_a_folder_on_disk_goes_before_the_hub(hub, tiny_model):
    folder, asked = hub
    rayzer.save_model(tiny_model(), folder.parent / "owner" / "name")
    rayzer.load_model("owner/name")
    assert asked == []


@pytest.mark.parametrize(
    "error",
    [
        LocalEntryNotFoundError("cannot reach the hub\nmore lines"),
        OSError("connection reset"),
        huggingface_hub.errors.HFValidationError("Repo id must be ...\n"),
        HfHubHTTPError("401 Client Error\n\nNot Found", response=SimpleNamespace(headers={}, request=None)),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_the_hub_does_not_give(hub, monkeypatch, error):
    def download(*args, **options):
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    text = message("owner/name")
    assert text.startswith("owner/name: no such file or folder")
    assert str(error).split("\n")[0] in text


def test_push(monkeypatch, tiny_model, tmp_path):
    calls = []

    class Api:
        def create_repo(self, repo_id, **options):
            calls.append(("create", repo_id, options))

        def upload_folder(self, *, repo_id, folder_path, commit_message):
            shutil.copytree(folder_path, tmp_path / "uploaded")
            return f"https://huggingface.co/{repo_id}"

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    model = tiny_model()
    assert rayzer.push_model(model, "owner/name", private=True) == "https://huggingface.co/owner/name"
    assert calls == [("create", "owner/name", {"private": True, "exist_ok": True})]
    assert fingerprint(rayzer.load_model(tmp_path / "uploaded")) == fingerprint(model)


def test_peek_at_a_configuration(hub, tiny_model, recordings_folder, monkeypatch):
    folder, _ = hub
    model = tiny_model()
    rayzer.save_model(model, folder)
    (folder / "model.safetensors").unlink()  # not needed for it
    assert peek_config(folder) == model.config
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda repo_id, name: str(folder / name))
    assert peek_config("owner/name") == model.config
    pt = recordings_folder / "rayzer_tiny.pt"
    assert peek_config(pt, pt.with_suffix(".yaml")).scene_tokens == 32
    with pytest.raises(InputError, match="holds no configuration"):
        peek_config(pt)
    (folder / "config.json").unlink()
    with pytest.raises(InputError, match=r"config\.json"):
        peek_config(folder)
