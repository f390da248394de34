"""Patches and position codes, against loops over their definition."""

import math

import pytest
import torch
from torch.testing import assert_close

from rayzer.model.tokens import patchify, position_code, token_code, unpatchify


def test_patches_are_row_column_channel_in_row_major_order():
    picture = torch.rand(3, 4, 6)
    expected = [
        [picture[c, 2 * i + ph, 2 * j + pw] for ph in range(2) for pw in range(2) for c in range(3)]
        for i in range(2)
        for j in range(3)
    ]
    patches = patchify(picture, 2)
    assert torch.equal(patches, torch.tensor(expected))
    assert torch.equal(unpatchify(patches, 4, 2), picture)


def code(x: float, width: int) -> list[float]:
    phases = [x * 10000 ** (-k / (width / 2)) for k in range(width // 2)]
    return [math.sin(p) for p in phases] + [math.cos(p) for p in phases]


def test_position_code():
    positions = torch.tensor([[0, 1], [7, 23]])
    expected = torch.tensor([[code(x, 12) for x in row] for row in positions.tolist()])
    assert_close(position_code(positions, 12), expected)


@pytest.mark.parametrize("order", ["row_column", "reference"])
def test_token_code_is_space_then_time(order):
    rows, columns, width = 2, 3, 16
    found = token_code(torch.tensor([[0, 5]]), rows, columns, width, order)
    divisor = rows if order == "reference" else columns
    expected = [
        [code(m // divisor, 4) + code(m % divisor, 4) + code(view, 8) for m in range(rows * columns)] for view in (0, 5)
    ]
    assert_close(found, torch.tensor([expected]))
