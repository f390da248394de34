"""Several sources of samples, of which some anchor cameras."""

import json
from pathlib import Path

import pytest

from rayzer import LVSMConfig
from rayzer.configs import load_config
from rayzer.data.dataset import SceneSamples
from rayzer.data.mixture import Mixture
from rayzer.data.room_samples import RoomSamples
from rayzer.errors import InputError
from rayzer.training.feed import sources_of, training_samples
from rayzer.training.recipe import DataConfig, SourceConfig, TrainingConfig
from rayzer.training.train import train

ANCHOR = "training.cameras.anchor=1"


def mix_of(*sources):
    """An override that names sources in place of the preset's."""
    parts = ", ".join("{" + ", ".join(f"{key}: {value}" for key, value in source.items()) + "}" for source in sources)
    return ["training.data.rooms=0", f"training.data.mix=[{parts}]"]


def stream_of(config):
    return training_samples(config.model, config.training, range(1))


def test_sources_have_their_shares(tiny, rooms_on_disk):
    config = tiny(*mix_of({"weight": 1}, {"scenes": rooms_on_disk, "weight": 3}), "training.batch_size=8")
    stream = stream_of(config)
    assert isinstance(stream.source, Mixture)
    assert [type(source) for source in stream.source.sources] == [RoomSamples, SceneSamples]
    names = [stream[step, slot].scene for step in range(2) for slot in range(8)]
    assert sum("room " in name for name in names) == 4


def test_weights_are_relative():
    mix = (SourceConfig(weight=2.0), SourceConfig("a", weight=6.0))
    sources = sources_of(TrainingConfig(data=DataConfig(mix=mix)))
    assert [source.weight for source in sources] == [2.0, 6.0]
    assert [Mixture([(None, source.weight) for source in sources]).place(i)[0] for i in range(8)].count(0) == 2


def test_only_anchored_sources_read_cameras(tiny, rooms_on_disk):
    mix = mix_of({"scenes": rooms_on_disk, "anchored": "true"}, {"scenes": rooms_on_disk}, {"anchored": "true"}, {})
    for words, used in (([ANCHOR], ["stored", "none", "stored", "none"]), ([], 4 * ["none"])):
        sources = stream_of(tiny(*mix, *words)).source.sources
        assert [source.cameras for source in sources] == used
    scenes, others = (source for source in stream_of(tiny(*mix, ANCHOR)).source.sources[:2])
    assert (scenes.options.cameras, others.options.cameras) == (True, False)


def test_samples_of_anchored_sources_have_cameras(tiny, rooms_on_disk):
    mix = mix_of({"scenes": rooms_on_disk}, {"anchored": "true"})
    stream = stream_of(tiny(*mix, ANCHOR, "training.batch_size=4"))
    for sample in (stream[0, slot] for slot in range(4)):
        assert (sample.cameras is not None) == ("room " in sample.scene)


def test_rooms_are_anchored_and_scenes_are_not(tiny, rooms_on_disk):
    config = tiny(f"training.data.scenes={rooms_on_disk}", "training.data.rooms=0.25", ANCHOR)
    scenes, rooms = sources_of(config.training)
    assert (scenes.scenes, scenes.weight, scenes.anchored) == (str(rooms_on_disk), 0.75, False)
    assert (rooms.scenes, rooms.weight, rooms.anchored) == ("", 0.25, True)
    assert [source.cameras for source in stream_of(config).source.sources] == ["none", "stored"]


def test_one_source_is_no_mixture(tiny):
    assert isinstance(stream_of(tiny(*mix_of({"weight": 3}))).source, RoomSamples)


def test_every_source_has_a_format(tiny, rooms_on_disk):
    right, wrong = ({"scenes": rooms_on_disk, "format": name} for name in ("rayzer", "colmap"))
    assert stream_of(tiny(*mix_of(right, {}))).source.sources[0].scenes
    with pytest.raises(InputError, match="colmap"):
        stream_of(tiny(*mix_of(wrong, {})))


def test_models_that_need_cameras_get_them_of_all_sources(tiny, rooms_on_disk):
    config = tiny(*mix_of({"scenes": rooms_on_disk}, {"anchored": "true"}), ANCHOR)
    model = LVSMConfig(16, 16, context_views=2, target_views=1, patch_size=8, width=32, head_width=16)
    sources = training_samples(model, config.training, range(1)).source.sources
    assert [source.cameras for source in sources] == ["normalized", "normalized"]


def test_a_file_with_a_mixture(tmp_path, rooms_on_disk):
    text = f"""
    preset: smoke
    training:
      data:
        rooms: 0
        mix:
          - {{scenes: {rooms_on_disk}, weight: 0.7}}
          - {{weight: 0.3, anchored: true}}
    """
    (tmp_path / "mix.yaml").write_text(text)
    mix = load_config(str(tmp_path / "mix.yaml")).training.data.mix
    assert mix == (SourceConfig(str(rooms_on_disk), "", 0.7, False), SourceConfig("", "", 0.3, True))


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["training.data.mix=[{weight: 1}]"], "training.data.mix: names all sources"),
        ([*mix_of({"weight": 1}), "training.data.scenes=x"], "training.data.mix: names all sources"),
        (mix_of({"weight": 1}, {"wieght": 2}), "training.data: mix.wieght: unknown key"),
        (mix_of({"weight": 0}), "training.data.mix: weight = 0"),
        (mix_of({"weight": -1.5}), "training.data.mix: weight = -1.5"),
        (mix_of({"weight": "much"}), "mix.weight = 'much'"),
        (mix_of({"scenes": "nowhere"}), "nowhere"),
        (["training.data.rooms=0", "training.data.mix=3"], "training.data.mix"),
        (["training.data.rooms=0", "training.data.mix=[3]"], "training.data.mix"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_mixed_is_refused(run, tmp_path, words, named):
    code, _, err = run("train", "--config", "smoke", "--device", "cpu", *words, f"training.output_dir={tmp_path}/run")
    assert code == 2
    assert named in err
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_steps_tell_of_the_anchor_whatever_their_samples_know(tiny, rooms_on_disk):
    """Processes whose samples differ exchange equal rows of values."""
    mix = mix_of({"scenes": rooms_on_disk, "weight": 2}, {"anchored": "true"})
    config = tiny(*mix, ANCHOR, "training.batch_size=1", "training.steps=6")
    assert train(config.model, config.training, "cpu") == 0
    text = (Path(config.training.output_dir) / "metrics.jsonl").read_text()
    anchors = [json.loads(line)["anchor"] for line in text.splitlines()]
    assert [value > 0 for value in anchors].count(True) == 2
    assert anchors.count(0) == 4
