"""Fixtures for every test: the command line, real scenes, and a browser for the tests marked `browser`."""

import os
import shutil
from pathlib import Path

import pytest
import torch

from rayzer import cli

# Photos and videos that are not ours to publish; the tests that use them skip without them.
REAL_SCENES = Path(os.environ.get("RAYZER_REAL_SCENES", Path(__file__).parents[2] / "shared/real"))

ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_runtest_setup(item):
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("needs a CUDA GPU")


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Tiny tensors are faster on one thread, and tests that run side by side need the other cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class _Malicious:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.fixture
def malicious():
    """Objects that run a shell command where they are unpickled freely."""
    return _Malicious


@pytest.fixture(scope="session")
def real_scene():
    """Where a real scene lies, by its name; skips where it is absent."""

    def find(name):
        if not (REAL_SCENES / name).exists():
            pytest.skip(f"{REAL_SCENES / name} is absent; RAYZER_REAL_SCENES says where to look")
        return REAL_SCENES / name

    return find


@pytest.fixture(scope="session")
def chromium():
    """A headless Chromium driven by playwright; skips where either is missing."""
    api = pytest.importorskip("playwright.sync_api")
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    executable = next(filter(None, found), None)
    if executable is None:
        pytest.skip("no chromium found on PATH")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def run(capsys):
    """Run the command line in this process: exit code, what it printed, what it complained of."""

    def call(*words):
        code = cli._run([str(word) for word in words])
        out, err = capsys.readouterr()
        return code, out, err

    return call
