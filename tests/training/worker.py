"""One of several training processes, with something going wrong: `python worker.py FAULT OVERRIDE...`.

Started by `test_processes.py` with RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT set, as torchrun would.
"""

import os
import signal
import sys

import torch

from rayzer import cli
from rayzer.training import step as step_module
from rayzer.training import train as train_module

RANK = int(os.environ.get("RANK", "0"))


def at_step(step, action):
    """Do something in `action(trainer)` when the given step begins."""
    real = train_module.train_step

    def wrapped(trainer, state, *rest):
        if state.step == step:
            action()
        return real(trainer, state, *rest)

    train_module.train_step = wrapped


def break_loss(value, step):
    """Let the loss of one step be `value` times nan."""
    real = step_module._forward_backward
    broken = []

    def switch():
        broken.append(1)

    def wrapped(trainer, *rest):
        if broken:
            broken.clear()
            term = trainer.loss.terms["mse"]
            forward = term.forward
            term.forward = lambda a, b: forward(a, b) * value
            try:
                return real(trainer, *rest)
            finally:
                term.forward = forward
        return real(trainer, *rest)

    step_module._forward_backward = wrapped
    at_step(step, switch)


FAULTS = {
    "none": lambda: None,
    "nan": lambda: break_loss(torch.nan, 3),
    "inf": lambda: break_loss(torch.inf, 3),
    "sigterm": lambda: at_step(3, lambda: signal.raise_signal(signal.SIGTERM)),
    "die": lambda: at_step(3, lambda: os.kill(os.getpid(), signal.SIGKILL)),
    "hang": lambda: at_step(3, lambda: os.kill(os.getpid(), signal.SIGSTOP)),
}

if __name__ == "__main__":
    torch.set_num_threads(1)
    fault, *words = sys.argv[1:]
    if RANK == 1 or fault == "none":
        FAULTS[fault]()
    sys.argv = ["rayzer", "train", *words]
    cli.main()
