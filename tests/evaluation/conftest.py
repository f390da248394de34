"""The recorded dataset and model, a command line that runs here, and results to look into."""

import json
from pathlib import Path

import pytest

RECORDINGS = Path(__file__).parents[1] / "recordings"
DATA = RECORDINGS / "dataset"


@pytest.fixture(scope="session")
def words():
    """The command that evaluates a recorded model on the recorded dataset, but for its output folder."""

    def make(kind="rayzer", scenes=DATA / "scenes.txt", index=DATA / "view_index.json", fly_throughs=0):
        model = {"rayzer": "rayzer_tiny", "lvsm": "lvsm_encdec_tiny"}[kind]
        checkpoint = ["--checkpoint", str(RECORDINGS / f"{model}.pt"), "--config", str(RECORDINGS / f"{model}.yaml")]
        data = ["--scenes", str(scenes), "--view-index", str(index), "--device", "cpu"]
        return ["evaluate", *checkpoint, *data, f"evaluation.fly_throughs={fly_throughs}"]

    return make


@pytest.fixture
def run(capsys):
    """Run the command line here: (exit code, stdout, stderr)."""
    from rayzer import cli

    def call(*arguments):
        with pytest.raises(SystemExit) as end:
            cli.main([str(argument) for argument in arguments])
        output = capsys.readouterr()
        return end.value.code, output.out, output.err

    return call


@pytest.fixture
def results():
    """The content of `results.json` in a folder."""

    def read(folder):
        return json.loads((folder / "results.json").read_text(encoding="utf-8"))

    return read


@pytest.fixture
def split():
    """A ViewSplit of lists."""
    import torch

    from rayzer import ViewSplit

    def make(context, target):
        return ViewSplit(torch.tensor(context), torch.tensor(target))

    return make
