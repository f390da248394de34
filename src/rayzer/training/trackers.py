"""Curves and pictures of a run in TensorBoard and Weights & Biases, if wanted; neither can stop or slow a run.

Each works in a thread of its own, its start included: servers hang, and libraries raise what they like. What goes wrong
there is said once, and the run goes on without. What the user can mend before the run starts is an InputError.
"""

from __future__ import annotations

import importlib.util
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from rayzer.errors import InputError, counted, one_line
from rayzer.files import output_file
from rayzer.training.records import Report

if TYPE_CHECKING:
    import numpy as np

MOST_WAITING = 10_000
"""Calls that wait for a slow tracker; the oldest go first."""

MOST_PICTURES = 8  # of these calls, because each holds megabytes

RUN_ID = "wandb-run-id"
"""File in a run's folder; a run that is resumed goes on under the same id."""

WANDB_START_S, WANDB_END_S = 30.0, 10.0
"""How long Weights & Biases may try to start and to end a run: its exit hooks hold up the end of Python that long."""

log = logging.getLogger("rayzer")


class Tracker(Protocol):
    """Shows scalars and pictures of a run somewhere."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add one point to each of the named curves."""
        ...

    def picture(self, step: int, name: str, picture: np.ndarray) -> None:
        """Show a picture, uint8 [h, w, 3] RGB."""
        ...

    def close(self) -> None:
        """Finish what is under way."""
        ...


class TensorBoardTracker:
    """Event files for TensorBoard.

    Args:
        folder: of the files; made if missing.
        first_step: what earlier files say of this step and later ones is hidden, because it is done again.
    """

    def __init__(self, folder: Path, first_step: int = 0):
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=first_step, flush_secs=30)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add one point to each of the named curves."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def picture(self, step: int, name: str, picture: np.ndarray) -> None:
        """Show a picture, uint8 [h, w, 3] RGB."""
        self._writer.add_image(name, picture, step, dataformats="HWC")

    def close(self) -> None:
        """Write what is not yet on disk."""
        self._writer.close()


class WandbTracker:
    """A run of Weights & Biases.

    Steps that a resumed run does again are not shown twice: the server keeps the first.

    Args:
        project, name: under which the run is found.
        folder: the run's folder; wandb writes to `wandb/` there, and the run's id is kept there.
        mode: "offline" writes files that `wandb sync` sends later.
        config: shown beside the run.
        key: the API key; None uses `wandb login` or WANDB_API_KEY.
    """

    def __init__(
        self,
        project: str,
        name: str,
        folder: Path,
        mode: Literal["online", "offline"] = "online",
        config: Mapping[str, Any] | None = None,
        key: str | None = None,
    ):
        import wandb

        wandb.setup(wandb.Settings(silent=True))  # nothing on the terminal, and no question there for a key
        self._image = wandb.Image
        self._run = wandb.init(
            project=project,
            name=name,
            dir=str(folder),
            mode=mode,
            config=dict(config or {}),
            id=_run_id(folder),
            resume="allow",
            settings=_wandb_settings(key),
        )
        log.info("wandb: this run is shown at %s", self._run.url or f"{folder / 'wandb'} (offline; see `wandb sync`)")

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add one point to each of the named curves."""
        self._run.log(dict(values), step=step)

    def picture(self, step: int, name: str, picture: np.ndarray) -> None:
        """Show a picture, uint8 [h, w, 3] RGB."""
        self._run.log({name: self._image(picture)}, step=step)

    def close(self) -> None:
        """Send what is not yet sent."""
        self._run.finish()


class InBackground:
    """A tracker in a daemon thread: calls return at once, and errors of the tracker end the tracker alone.

    Args:
        name: what messages call it.
        make: makes the tracker, in that thread.
        report: told once when the tracker stops early, as `report("tracker stopped", tracker=..., reason=...)`.
    """

    def __init__(self, name: str, make: Callable[[], Tracker], report: Report = lambda event, **values: None):
        self.name = name
        self._report = report
        self._calls = _Calls()
        self._stopped = threading.Lock()  # taken once, never given back
        self._thread = threading.Thread(target=self._work, args=(make,), name=f"tracker {name}", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """How many calls were left out because too many were waiting."""
        return self._calls.dropped

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add one point to each of the named curves, soon."""
        kept = dict(values)
        self._calls.put(lambda tracker: tracker.scalars(step, kept))

    def picture(self, step: int, name: str, picture: np.ndarray) -> None:
        """Show a picture, uint8 [h, w, 3] RGB that nobody changes from now on, soon."""
        self._calls.put(lambda tracker: tracker.picture(step, name, picture), is_picture=True)

    def end(self) -> None:
        """Take no more calls; the tracker closes when it has done those that wait."""
        self._calls.end()

    def close(self, timeout_s: float = 5.0) -> bool:
        """End, and wait no longer than that. Whether the thread is done.

        Where it is not, a library may hold up the end of Python as well (wandb does, for `WANDB_END_S` or so, in its
        exit hooks); only `os._exit` is faster.
        """
        self.end()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            self._stop("does not answer at the end of the run")
        elif self.dropped:
            log.warning("%s: too slow for this run; %s not shown", self.name, counted(self.dropped, "update"))
        return not self._thread.is_alive()

    def _work(self, make: Callable[[], Tracker]) -> None:
        try:
            tracker = make()
            while (call := self._calls.next()) is not None:
                call(tracker)
            tracker.close()
        except (Exception, SystemExit) as error:  # the boundary: whatever a library raises, the run goes on
            self._stop(f"{type(error).__name__}: {error}")

    def _stop(self, reason: str) -> None:
        """Say why the tracker stops, once, and forget what waits for it."""
        self._calls.forget()
        if self._stopped.acquire(blocking=False):
            reason = one_line(reason)
            log.warning("%s: stopped (%s); the run is not affected, metrics.jsonl has its numbers", self.name, reason)
            self._report("tracker stopped", tracker=self.name, reason=reason)


class Trackers:
    """Any number of trackers, none included, as one."""

    def __init__(self, trackers: Sequence[InBackground] = ()):
        self._trackers = tuple(trackers)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add one point to each of the named curves, soon."""
        for tracker in self._trackers:
            tracker.scalars(step, values)

    def picture(self, step: int, name: str, picture: np.ndarray) -> None:
        """Show a picture, uint8 [h, w, 3] RGB that nobody changes from now on, soon."""
        for tracker in self._trackers:
            tracker.picture(step, name, picture)

    def close(self, timeout_s: float = 5.0) -> bool:
        """End all; wait no longer than that for all of them together. Whether all are done."""
        end_s = time.monotonic() + timeout_s
        for tracker in self._trackers:
            tracker.end()
        done = [tracker.close(max(0.0, end_s - time.monotonic())) for tracker in self._trackers]
        return all(done)


def start_tensorboard(folder: Path, first_step: int, report: Report) -> InBackground:
    """TensorBoard in the background; arguments as of `TensorBoardTracker` and `InBackground`.

    Raises:
        InputError: if the package is missing.
    """
    require_package("tensorboard")
    return InBackground("tensorboard", lambda: TensorBoardTracker(folder, first_step), report)


def start_wandb(
    project: str,
    name: str,
    folder: Path,
    mode: Literal["online", "offline"],
    config: Mapping[str, Any],
    key_file: Path | None,
    report: Report,
) -> InBackground:
    """Weights & Biases in the background; arguments as of `WandbTracker`, `read_key` and `InBackground`.

    Raises:
        InputError: if the package is missing or the key file holds no key.
    """
    require_package("wandb")
    key = None if key_file is None else read_key(key_file)
    return InBackground("wandb", lambda: WandbTracker(project, name, folder, mode, config, key), report)


def require_package(name: str) -> None:
    """Raise InputError unless a package of the extra `log` is installed."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:  # without origin: a mere folder of that name, such as wandb makes
        raise InputError(f'{name} is not installed; install it with pip install "rayzer[log]" or turn it off')


def read_key(path: Path) -> str:
    """The API key of Weights & Biases in a YAML file with an entry `wandb: KEY` (the reference's `api_keys.yaml`).

    Raises:
        InputError: if there is no such file or entry.
    """
    import yaml

    try:
        keys = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); name a YAML file with wandb: KEY") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        keys = None
    key = keys.get("wandb") if isinstance(keys, dict) else None
    if not isinstance(key, str) or not key.strip():
        raise InputError(f"{path}: wandb: no key there; write a line wandb: KEY, or use `wandb login` without a file")
    return key.strip()


class _Calls:
    """Calls that wait for the thread of a tracker; where there are too many, the oldest go."""

    def __init__(self) -> None:
        self.dropped = 0
        self._waiting: deque[tuple[bool, Callable[[Tracker], None]]] = deque()
        self._ended = False
        self._changed = threading.Condition()

    def put(self, call: Callable[[Tracker], None], is_picture: bool = False) -> None:
        with self._changed:
            if self._ended:
                return
            self._waiting.append((is_picture, call))
            if is_picture and sum(kind for kind, _ in self._waiting) > MOST_PICTURES:
                self._waiting.remove(next(waiting for waiting in self._waiting if waiting[0]))
                self.dropped += 1
            if len(self._waiting) > MOST_WAITING:
                self._waiting.popleft()
                self.dropped += 1
            self._changed.notify()

    def next(self) -> Callable[[Tracker], None] | None:
        """The oldest call, waiting for one if need be; None after the last."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended)
            return self._waiting.popleft()[1] if self._waiting else None

    def end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify()

    def forget(self) -> None:
        with self._changed:
            self._ended = True
            self._waiting.clear()
            self._changed.notify()


def _run_id(folder: Path) -> str:
    """The id of the run in this folder; a new one the first time."""
    path = folder / RUN_ID
    known = path.read_text().strip() if path.exists() else ""
    if known:
        return known
    new = secrets.token_hex(8)
    with output_file(path) as partial:
        partial.write_text(new + "\n")
    return new


def _wandb_settings(key: str | None) -> Any:
    """Settings of a run, without those that an older wandb does not know."""
    import wandb

    wanted = {"console": "off", "silent": True, "init_timeout": WANDB_START_S, "finish_timeout": WANDB_END_S}
    if key is not None:
        wanted["api_key"] = key
    known = getattr(wandb.Settings, "model_fields", wanted)
    return wandb.Settings(**{name: value for name, value in wanted.items() if name in known})
