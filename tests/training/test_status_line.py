"""Numbers of the status line, plain lines in a pipe, and a live line in a terminal that log messages do not garble."""

import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rayzer
from rayzer.training import status_line
from rayzer.training.status_line import StatusLine, duration

VALUES = {
    **{"loss": 0.012345, "psnr": 21.534, "lr": 4e-4, "grad_norm": 0.12345, "scenes": 256.0, "mfu": 0.412},
    **{"data_wait_share": 0.021, "memory_gib": 61.24},
}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (44.6, "45s"),
        (59.6, "1m 0s"),
        (725, "12m 5s"),
        (3599.7, "1h 0m"),
        (15_150, "4h 12m"),
        (273_600, "3d 4h"),
        (1e9, "11,574d 1h"),
        (math.nan, "?"),
        (math.inf, "?"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0.000"),
        (0.012345, "0.01235"),
        (0.09999, "0.09999"),
        (0.1, "0.1000"),
        (1.0, "1.000"),
        (9.99996, "10.00"),
        (123.456, "123.5"),
        (45_678.9, "45,679"),
        (1.23456e7, "1.235e+07"),
        (0.000012345, "1.234e-05"),
        (-0.5, "-0.5000"),
        (math.nan, "nan"),
        (math.inf, "inf"),
    ],
)
def test_numbers_of_any_size(value, text):
    assert status_line._digits(value) == text


@pytest.fixture
def clock(monkeypatch):
    """A clock that tests set: `clock.now_s`."""

    class Clock:
        now_s = 1000.0

    monkeypatch.setattr(status_line.time, "monotonic", lambda: Clock.now_s)
    return Clock


def test_a_plain_line(clock, capsys):
    line = StatusLine(100_000, 1232)
    for step in (1232, 1233):
        line.update(step, {**VALUES, "unknown": 7.0})
        clock.now_s += 10 if step == 1232 else 0
    line.close()
    first, second = capsys.readouterr().err.splitlines()
    head = "loss 0.01235  PSNR 21.53  lr 4.00e-04  grad 0.1235"
    tail = "MFU 41%  data wait 2%  61.2 GiB"
    assert first == f"step 1,233/100,000 (1.2%)  {head}  {tail}  ETA ?"
    assert second == f"step 1,234/100,000 (1.2%)  {head}  25.6 scenes/s  {tail}  ETA 11d 10h"


def test_what_is_not_known_is_left_out(capsys):
    StatusLine(2, 0).update(0, {"loss": math.nan})
    assert capsys.readouterr().err == "step 1/2 (50.0%)  loss nan  ETA ?\n"


def shown_steps(text):
    return [int(step.replace(",", "")) for step in re.findall(r"^step ([\d,]+)/", text, re.MULTILINE)]


def test_plain_lines_now_and_then_and_at_the_end(clock, capsys):
    line = StatusLine(36, 0, every_s=10)
    for step in range(36):
        clock.now_s += 1
        line.update(step, VALUES)
    line.close()
    text = capsys.readouterr().err
    assert shown_steps(text) == [1, 11, 21, 31, 36]
    assert "\x1b" not in text
    assert "\r" not in text


def test_rates_are_of_recent_steps(clock, capsys):
    line = StatusLine(1000, 100, every_s=0)
    clock.now_s += 300  # compiles
    line.update(100, {"scenes": 8, "mfu": 0.001, "data_wait_share": 1.0})
    ends, mfu = [clock.now_s], []
    for step in range(101, 221):
        clock.now_s += 1 + (step % 7) / 10
        ends.append(clock.now_s)
        mfu.append((step % 10) / 10)
        line.update(step, {"scenes": 8, "mfu": mfu[-1]})
        window = ends[-51:]
        step_s = (window[-1] - window[0]) / (len(window) - 1)
        share = sum(mfu[-50:]) / len(mfu[-50:])
        expected = (
            f"{status_line._digits(8 / step_s, 3)} scenes/s  MFU {share:.0%}  ETA {duration(step_s * (999 - step))}"
        )
        assert capsys.readouterr().err.splitlines()[-1].partition("  ")[2] == expected, step


SCRIPT = """
import logging, sys, threading, time, warnings
from rayzer.training.status_line import StatusLine
logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stderr)
log = logging.getLogger("rayzer")
log.setLevel(logging.INFO)
line = StatusLine(20, 0, every_s=0)
for step in range(20):
    time.sleep(0.03)
    if step == 4:
        log.info("LOG " + "/long/path" * 20 + " [red]not markup[/red] :smile:")
    if step == 8:
        print("PRINT", file=sys.stderr)
        warnings.warn("WARNED")
    if step == 12:
        thread = threading.Thread(target=log.warning, args=("THREAD",))
        thread.start()
        thread.join()
    line.update(step, {"loss": 0.5, "psnr": 20.0, "scenes": 8, "mfu": 0.41, "memory_gib": 61.2})
line.close()
line.close()
log.info("AFTER")
"""


def run_in_terminal(columns):
    """What a program writes to a terminal of that width."""
    pty, fcntl, termios = (pytest.importorskip(name) for name in ("pty", "fcntl", "termios"))
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, b"".join(n.to_bytes(2, sys.byteorder) for n in (40, columns, 0, 0)))
    environment = {"PYTHONPATH": str(Path(rayzer.__file__).parents[1]), "TERM": "xterm", "PATH": os.environ["PATH"]}
    process = subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    written = b""
    try:
        while some := os.read(ours, 65536):
            written += some
    except OSError:  # what Linux says when the other end closes
        pass
    os.close(ours)
    assert process.wait(20) == 0
    return written.decode()


def screen(written):
    """The lines that a (very wide) terminal shows at last: the slow twin of a terminal."""
    lines, row, column = [""], 0, 0
    for piece in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", written):
        if piece == "\r":
            column = 0
        elif piece == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif piece.startswith("\x1b"):
            row -= int(piece[2:-1] or 1) if piece.endswith("A") else 0
            lines[row] = "" if piece == "\x1b[2K" else lines[row]
        else:
            lines[row] = lines[row][:column].ljust(column) + piece + lines[row][column + len(piece) :]
            column += len(piece)
    return [line.rstrip() for line in lines if line.strip()]


@pytest.mark.parametrize("columns", [120, 50])
def test_log_messages_stand_above_the_live_line(columns):
    written = run_in_terminal(columns)
    lines = screen(written)
    warned, _source = lines[2:4]
    assert lines[:2] == ["LOG " + "/long/path" * 20 + " [red]not markup[/red] :smile:", "PRINT"]
    assert "WARNED" in " ".join(lines[2:5])
    assert warned.startswith("<string>:")
    assert lines[-1] == "AFTER"
    bar = next(index for index, line in enumerate(lines) if "20/20 steps" in line)
    assert lines[bar - 1] == "THREAD"
    assert lines[bar].endswith("ETA 0s")
    values = " ".join(" ".join(lines[bar + 1 : -1]).split())
    assert re.fullmatch(r"loss 0\.5000 PSNR 20\.00 [\d.]+ scenes/s MFU 41% 61\.2 GiB", values)
    assert sum("steps" in line for line in lines) == 1  # earlier states are gone
    assert written.rfind("\x1b[?25h") > written.rfind("\x1b[?25l")  # the cursor is back


def test_a_pipe_gets_plain_text_whatever_the_environment_says():
    environment = {"PYTHONPATH": str(Path(rayzer.__file__).parents[1]), "FORCE_COLOR": "1", "PATH": os.environ["PATH"]}
    run = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=environment, check=True)
    assert shown_steps(run.stderr) == list(range(1, 21))
    assert "\x1b" not in run.stderr
    assert run.stderr.splitlines()[-1] == "AFTER"
