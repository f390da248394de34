"""Batches step by step: sources by configuration, and workers that die or hang."""

import os
import signal
import time

import pytest
import torch

from rayzer.data.dataset import SampleStream
from rayzer.data.mixture import Mixture
from rayzer.data.room_samples import RoomSamples
from rayzer.errors import InputError, RunError
from rayzer.training.distributed import World
from rayzer.training.feed import Feed, training_samples


def feed_of(config, world, source=None, steps=None):
    events = []
    stream = training_samples(config.model, config.training, range(config.training.steps))
    if source is not None:
        stream = SampleStream(source, stream.views, stream.seed, stream.batch_size)
    from rayzer.data.bad_data import BadData

    report = lambda event, **values: events.append((event, values))  # noqa: E731
    return Feed(stream, steps or range(config.training.steps), config.training, world, BadData(), report), events


class Failing:
    """A source whose worker fails at one place, once; a file remembers that."""

    def __init__(self, inner, place, marker, how):
        self.inner, self.place, self.marker, self.how = inner, place, marker, how

    def sample(self, draw):
        if (draw.step, draw.slot) == self.place and not self.marker.exists():
            self.marker.touch()
            if self.how == "hangs":
                time.sleep(1000)
            os.kill(os.getpid(), signal.SIGKILL if self.how == "dies" else signal.SIGSTOP)
        return self.inner.sample(draw)


def everything(feed, steps):
    return [[batch.images for batch in feed.step(step)] for step in steps]


@pytest.mark.parametrize("how", ["dies", "hangs", "stops"])
def test_a_lost_worker_is_replaced_and_nothing_is_lost(tiny, alone, tmp_path, how, caplog):
    options = ["training.data.workers=1", "training.batch_size=3", "training.data.timeout_s=3"]
    config = tiny(*options)
    expected = everything(feed_of(config, alone)[0], range(4))
    inner = training_samples(config.model, config.training, range(6)).source
    feed, events = feed_of(config, alone, Failing(inner, (2, 1), tmp_path / "failed", how))
    found = everything(feed, range(4))
    assert "torch" not in getattr(signal.getsignal(signal.SIGCHLD), "__module__", "")
    assert (tmp_path / "failed").exists()
    assert all(torch.equal(a, b) for x, y in zip(expected, found, strict=True) for a, b in zip(x, y, strict=True))
    assert [event for event, _ in events] == ["data workers started again"]
    assert "data workers are started again" in caplog.text
    workers = feed._workers
    feed.close()
    for worker in workers:
        worker.join(timeout=10)
        assert not worker.is_alive()


def test_a_handler_of_the_users_stays(tiny, alone):
    def own(*_):
        pass

    before = signal.signal(signal.SIGCHLD, own)
    try:
        feed, _ = feed_of(tiny("training.data.workers=1"), alone)
        everything(feed, range(1))
        assert signal.getsignal(signal.SIGCHLD) is own
        feed.close()
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_workers_that_fail_again_and_again_end_the_run(tiny, alone, tmp_path):
    class Dying(Failing):
        def sample(self, draw):
            os.kill(os.getpid(), signal.SIGKILL)

    config = tiny("training.data.workers=1")
    feed, events = feed_of(config, alone, Dying(None, None, None, None))
    with pytest.raises(RunError, match="data workers failed 4 times in a row"):
        everything(feed, range(1))
    assert len(events) == 4


def test_processes_share_every_step(tiny):
    config = tiny("training.batch_size=4", "training.samples_at_once=2")
    whole = everything(feed_of(config, World(0, 1, torch.device("cpu")))[0], range(2))
    parts = [everything(feed_of(config, World(rank, 2, torch.device("cpu")))[0], range(2)) for rank in range(2)]
    for step in range(2):
        assert torch.cat(whole[step]).equal(torch.cat([*parts[0][step], *parts[1][step]]))


def test_a_resumed_feed_goes_on(tiny, alone):
    config = tiny("training.batch_size=3", "training.samples_at_once=2")
    whole = everything(feed_of(config, alone)[0], range(6))
    rest = everything(feed_of(config, alone, steps=range(3, 6))[0], range(3, 6))
    assert [len(step) for step in rest] == [2, 2, 2]
    assert all(torch.cat(a).equal(torch.cat(b)) for a, b in zip(whole[3:], rest, strict=True))


def test_sources(tiny, tmp_path):
    config = tiny()
    assert isinstance(training_samples(config.model, config.training, range(1)).source, RoomSamples)
    for empty in (tiny("training.data.rooms=0"), tiny("training.data.rooms=0.5")):
        with pytest.raises(InputError, match=r"training\.data\.scenes is empty"):
            training_samples(empty.model, empty.training, range(1))
    tall = tiny("model.image_height=32")
    with pytest.raises(InputError, match="rooms are square"):
        training_samples(tall.model, tall.training, range(1))


def test_a_mixture_of_scenes_and_rooms(tiny, rooms_on_disk):
    config = tiny(f"training.data.scenes={rooms_on_disk}", "training.data.rooms=0.25", "training.batch_size=4")
    stream = training_samples(config.model, config.training, range(1))
    assert isinstance(stream.source, Mixture)
    names = [stream[step, slot].scene for step in range(2) for slot in range(4)]
    assert sum("room " in name for name in names) == 2
