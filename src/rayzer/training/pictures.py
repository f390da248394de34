"""Pictures that show how a run is doing: what the model saw, what it should have drawn, and what it drew."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from rayzer.files import output_file
from rayzer.view_split import ViewSplit

MOST_SAMPLES = 3
ERROR_GAIN = 4
"""Differences are shown this many times as large."""

PAGE, INK, MUTED, LINE = "#f8f8f6", "#1c2027", "#5a6170", "#e2e2dd"
CONTEXT, TARGET, TRUE = "#2563c9", "#c2500a", "#0b7a58"
"""The colours of the pages (`report/templates/css/base.css`)."""

MARGIN = 12  # around everything, in pixels, as are those below
NAMES = 66  # for the names of rows, left of them
CAPTION = 18  # for the line above a tile
GAP = 4
WIDTH_OF_VIEWS, LEAST_TILE, MOST_TILE = 1600, 72, 160

log = logging.getLogger("rayzer")


@torch.no_grad()
def contact_sheet(images: Tensor, split: ViewSplit, rendered: Tensor) -> np.ndarray:
    """Context views, true target views, renders right below them and their errors, of at most 3 samples.

    Small pictures are enlarged by a whole factor, large ones shrunk; errors are absolute differences, 4 times as
    bright. PSNR in dB stands above each render.

    Args:
        images: float [b, v, 3, h, w] in [0, 1].
        split: which views are context and target.
        rendered: float [b, t, 3, h, w]; what is not in [0, 1] is clamped for display.

    Returns:
        uint8 [H, W, 3] RGB.
    """
    samples = [
        _rows(images[sample].cpu(), split.context[sample].tolist(), split.target[sample].tolist(), rendered[sample])
        for sample in range(min(len(images), MOST_SAMPLES))
    ]
    columns = max(len(row.tiles) for row in samples[0])
    return _draw(samples, columns, _tile_size(images.shape[-1], images.shape[-2], columns))


def save_png(path: Path, picture: np.ndarray) -> None:
    """Write a picture, uint8 [h, w, 3], whole or not at all; where the disk takes none, a warning says so."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with output_file(path) as partial:
            Image.fromarray(picture).save(partial, "PNG")
    except OSError as error:
        log.warning("%s: cannot be written (%s); the run goes on without it", path, error.strerror or error)


@dataclass(frozen=True)
class _Row:
    """A row of the sheet: its name, its pictures uint8 [n, h, w, 3], and what stands above each."""

    name: str
    color: str
    tiles: np.ndarray
    captions: list[str]


def _rows(views: Tensor, context: list[int], target: list[int], rendered: Tensor) -> list[_Row]:
    """The four rows of one sample; views are [v, 3, h, w], rendered is [t, 3, h, w]."""
    true, drawn = views[target].float(), rendered.cpu().float()
    error = (drawn.clamp(0, 1) - true.clamp(0, 1)).abs()
    psnr = -10 * error.square().flatten(1).mean(1).log10()
    return [
        _Row("context", CONTEXT, _pixels(views[context].float()), [f"view {view}" for view in context]),
        _Row("target", TARGET, _pixels(true), [f"view {view}" for view in target]),
        _Row("render", INK, _pixels(drawn), [f"{value:.1f} dB" for value in psnr.tolist()]),
        _Row(f"error x{ERROR_GAIN}", MUTED, _pixels(ERROR_GAIN * error), [""] * len(target)),
    ]


def _pixels(pictures: Tensor) -> np.ndarray:
    """Float [n, 3, h, w] -> uint8 [n, h, w, 3]; what is not a number is black."""
    return (255 * pictures.nan_to_num(0.0).clamp(0, 1)).round().byte().movedim(1, -1).numpy()


def _tile_size(width: int, height: int, columns: int) -> tuple[int, int]:
    """Width and height of a picture on the sheet."""
    wanted = min(max(WIDTH_OF_VIEWS // columns - GAP, LEAST_TILE), MOST_TILE)
    if width <= wanted:
        factor = wanted // width
        return factor * width, factor * height
    return wanted, max(1, round(height * wanted / width))


def _draw(samples: list[list[_Row]], columns: int, tile: tuple[int, int]) -> np.ndarray:
    width, height = tile
    row_height = CAPTION + height
    sample_height = 4 * row_height + GAP
    size = (2 * MARGIN + NAMES + columns * (width + GAP) - GAP, len(samples) * (sample_height + MARGIN) + MARGIN)
    sheet = Image.new("RGB", size, PAGE)
    for index, rows in enumerate(samples):
        top = MARGIN + index * (sample_height + MARGIN)
        if index:
            ImageDraw.Draw(sheet).line([(MARGIN, top - MARGIN // 2), (size[0] - MARGIN, top - MARGIN // 2)], LINE)
        for place, row in enumerate(rows):
            _draw_row(sheet, row, top + place * row_height, tile)
    return np.asarray(sheet)


def _draw_row(sheet: Image.Image, row: _Row, top: int, tile: tuple[int, int]) -> None:
    pen, small = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    middle = top + CAPTION + tile[1] // 2
    pen.text((MARGIN, middle), row.name, row.color, ImageFont.load_default(13), anchor="lm")
    for column, (pixels, caption) in enumerate(zip(row.tiles, row.captions, strict=True)):
        left = MARGIN + NAMES + column * (tile[0] + GAP)
        enlarged = tile[0] >= pixels.shape[1]
        resample = Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS
        sheet.paste(Image.fromarray(pixels).resize(tile, resample), (left, top + CAPTION))
        pen.text((left + tile[0] // 2, top + CAPTION - 2), caption, MUTED, small, anchor="mb")
