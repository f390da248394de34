"""Fixtures for every test: the command line, and a browser for the tests marked `browser`."""

import shutil

import pytest

from rayzer import cli

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
