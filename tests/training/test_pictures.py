"""The contact sheet shows the right pictures at the right places; a full disk costs a picture, not the run."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from rayzer import ViewSplit
from rayzer.evaluation.metrics import psnr
from rayzer.training import pictures
from rayzer.training.pictures import contact_sheet, save_png


def batch(samples, context, target, size):
    """Pictures of random pixels, a split, and renders that are off by more and more."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(samples, context + target, 3, *size, generator=generator)
    order = torch.stack([torch.randperm(context + target, generator=generator) for _ in range(samples)])
    split = ViewSplit(order[:, :context].sort().values, order[:, context:].sort().values)
    true = split.target_of(images)
    return images, split, true + 0.1 * torch.randn(true.shape, generator=generator)


def place_of(picture, sheet):
    """Row and column (of the upper left pixel) at which the sheet shows exactly these pixels."""
    for top, left in np.argwhere((sheet == picture[0, 0]).all(-1)):
        window = sheet[top : top + picture.shape[0], left : left + picture.shape[1]]
        if window.shape == picture.shape and (window == picture).all():
            return int(top), int(left)
    raise AssertionError("not on the sheet")


def pixels(picture, factor):
    """The slow twin: uint8 pixels of [3, h, w], each `factor` x `factor` times."""
    rounded = (picture.clamp(0, 1).numpy().transpose(1, 2, 0) * 255).round().astype(np.uint8)
    return rounded.repeat(factor, 0).repeat(factor, 1)


def test_where_everything_is():
    images, split, rendered = batch(3, 3, 2, (8, 16))
    sheet = contact_sheet(images, split, rendered)
    factor = 160 // 16
    height, width = 8 * factor, 16 * factor
    sample_tops = []
    for sample in range(3):
        places = {}
        for name, views in (
            ("context", split.context_of(images)),
            ("target", split.target_of(images)),
            ("render", rendered),
            ("error", 4 * (rendered.clamp(0, 1) - split.target_of(images)).abs()),
        ):
            places[name] = [place_of(pixels(view, factor), sheet) for view in views[sample]]
        tops = [{top for top, _ in row} for row in places.values()]
        assert all(len(top) == 1 for top in tops)
        tops = [top.pop() for top in tops]
        assert {below - above for above, below in pairwise(tops)} == {height + 18}
        lefts = [left for _, left in places["context"]]
        assert {right - left for left, right in pairwise(lefts)} == {width + 4}
        assert all([left for _, left in places[row]] == lefts[:2] for row in ("target", "render", "error"))
        sample_tops.append(tops[0])
    assert sample_tops == sorted(sample_tops)
    assert sheet.dtype == np.uint8
    assert sheet.shape[1] == lefts[-1] + width + 12


def test_at_most_three_samples():
    images, split, rendered = batch(5, 2, 1, (8, 8))
    three = (images[:3], ViewSplit(split.context[:3], split.target[:3]), rendered[:3])
    assert (contact_sheet(images, split, rendered) == contact_sheet(*three)).all()


@pytest.mark.parametrize(
    ("size", "columns", "shown"),
    [
        ((32, 32), 2, (160, 160)),
        ((32, 32), 16, (96, 96)),
        ((256, 256), 16, (96, 96)),
        ((256, 128), 2, (160, 80)),
        ((128, 256), 2, (128, 256)),
        ((100, 50), 2, (100, 50)),
        ((256, 256), 64, (72, 72)),
    ],
)
def test_sizes(size, columns, shown):
    assert pictures._tile_size(*size, columns) == shown


def test_large_pictures_are_shrunk_without_moire():
    images = torch.zeros(1, 3, 3, 256, 256)
    images[..., ::2] = 1  # stripes of one pixel become grey
    split = ViewSplit(torch.tensor([[0, 2]]), torch.tensor([[1]]))
    sheet = contact_sheet(images, split, images[:, :1])
    place = (12 + 18 + 80, 12 + 66 + 80)
    assert sheet[place] == pytest.approx([127] * 3, abs=12)


def captions(monkeypatch, *arguments):
    """What is written on a sheet, in order."""
    written = []
    draw = pictures.ImageDraw.ImageDraw.text

    def text(self, place, text, *others, **options):
        written.append(text)
        draw(self, place, text, *others, **options)

    monkeypatch.setattr(pictures.ImageDraw.ImageDraw, "text", text)
    contact_sheet(*arguments)
    return written


def test_captions(monkeypatch):
    images, split, rendered = batch(1, 2, 2, (8, 8))
    written = captions(monkeypatch, images, split, rendered)
    values = psnr(split.target_of(images)[0], rendered[0]).tolist()
    views = [[f"view {view}" for view in part[0].tolist()] for part in (split.context, split.target)]
    expected = ["context", *views[0], "target", *views[1], "render", *(f"{value:.1f} dB" for value in values)]
    assert written == [*expected, "error x4", "", ""]


def test_pictures_of_any_values_and_precision(monkeypatch):
    images, split, rendered = batch(1, 2, 2, (8, 8))
    rendered[0, 0, 0, 0, 0] = math.nan
    rendered[0, 1] = split.target_of(images)[0, 1]
    written = captions(monkeypatch, images, split, rendered)
    assert {"nan dB", "inf dB"} <= set(written)
    assert contact_sheet(images.bfloat16(), split, rendered.bfloat16().requires_grad_()).dtype == np.uint8


def test_png(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    path = tmp_path / "pictures" / "step-00000004.png"
    for _ in range(2):
        save_png(path, picture)
    assert (np.asarray(Image.open(path)) == picture).all()
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_picture_that_cannot_be_written(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "a.png", tmp_path):
        save_png(path, np.zeros((5, 7, 3), np.uint8))
        assert caplog.messages[-1].startswith(f"{path}: cannot be written (")
    assert len(caplog.messages) == 2
