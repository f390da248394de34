import numpy as np
import pytest
import torch
from PIL import Image

from rayzer.data.synthetic.noise import fractal_noise
from rayzer.data.synthetic.patterns.baking import PATTERNS, SIDE_PX, bake
from rayzer.data.synthetic.textures import TRUE_COLORS, Material, MaterialTable
from rayzer.data.synthetic.tiles import LEVELS, PictureSet, atlas, look_up, pack
from rayzer.errors import InputError

COLORS = ((0.9, 0.8, 0.7), (0.8, 0.2, 0.1), (0.1, 0.5, 0.3), (0.1, 0.1, 0.4))
FINEST, COARSEST = torch.tensor(1e-6), torch.tensor(1.0)


@pytest.mark.parametrize("name", PATTERNS)
def test_patterns_are_shares_of_colours_with_soft_edges_and_are_not_flat(name):
    tile = bake(name)
    assert tile.shape == (3, SIDE_PX, SIDE_PX)
    assert tile.min() >= 0
    assert tile.sum(0).max() <= 1 + 1e-5
    assert tile.flatten(1).std(1).max() > 0.05
    for axis in (1, 2):
        assert (tile.roll(1, axis) - tile).abs().max() <= 0.5001


def test_patterns_differ():
    texels = atlas(None, torch.device("cpu")).view(len(PATTERNS), -1)
    place = torch.rand(2, 300, generator=torch.Generator().manual_seed(0))
    number, detail = torch.zeros(300).long(), torch.full((300,), 1 / 32)
    tiles = torch.stack([look_up(tile, number, place, detail).flatten() for tile in texels])
    distances = torch.cdist(tiles, tiles) + 99 * torch.eye(len(tiles))
    assert distances.min() > 1.0


def table(*materials: Material, pictures: PictureSet | None = None) -> MaterialTable:
    return MaterialTable.of(materials, pictures).single()


def cut(pattern: str | int, **changes) -> Material:
    return Material(pattern, TRUE_COLORS if isinstance(pattern, int) else COLORS, **changes)


def test_albedo_agrees_with_a_slow_twin():
    material = cut("stars", repeat_m=(0.7, 1.1), turn=0.4, start=(0.2, 0.9), warp=(0.3, 0.1), grain=0.2)
    generator = torch.Generator().manual_seed(0)
    local, uv = 2 * torch.rand(50, 3, generator=generator) - 1, 4 * torch.rand(50, 2, generator=generator) - 2
    found = table(cut("plain"), material).albedo(torch.ones(50).long(), local, uv, footprint_m=1e-4)
    tile = bake("stars").double()
    for k in range(50):
        rough, smooth = (value.item() for value in fractal_noise(local[k][:, None] / 0.5))
        u, v = uv[k].tolist()
        x = (np.cos(0.4) * u + np.sin(0.4) * v) / 0.7 + 0.2 + 0.3 * (rough - 0.5)
        y = (np.cos(0.4) * v - np.sin(0.4) * u) / 1.1 + 0.9 + 0.1 * (smooth - 0.5)
        shares = bilinear(tile, x % 1 * SIDE_PX, y % 1 * SIDE_PX)
        linear = np.array(COLORS) ** 2.2
        wanted = ((1 - sum(shares)) * linear[0] + shares @ linear[1:]) * (1 + 0.2 * (2 * rough - 1))
        np.testing.assert_allclose(found[k].numpy(), wanted, atol=3e-3)


def bilinear(tile: torch.Tensor, x: float, y: float) -> np.ndarray:
    i, j = int(x), int(y)
    corner = [tile[:, (j + b) % SIDE_PX, (i + a) % SIDE_PX].numpy() for b in (0, 1) for a in (0, 1)]
    upper, lower = ((x - i) * corner[k + 1] + (1 - x + i) * corner[k] for k in (0, 2))
    return (y - j) * lower + (1 - y + j) * upper


def test_every_ray_may_have_its_own_material_in_any_shape():
    generator = torch.Generator().manual_seed(1)
    materials = table(*(cut(name, through=axis) for name, axis in (("veins", "x"), ("dots", ""), ("rings", "y"))))
    index = torch.randint(0, 3, (2, 3, 40), generator=generator)
    local, uv = torch.randn(2, 3, 40, 3, generator=generator), torch.randn(2, 3, 40, 2, generator=generator)
    together = materials.albedo(index, local, uv)
    assert together.shape == (2, 3, 40, 3)
    for k in range(3):
        alone = materials.albedo(torch.full_like(index, k), local, uv)
        torch.testing.assert_close(together[index == k], alone[index == k])


def test_textures_are_continuous_along_a_surface():
    materials = table(*(cut(name, warp=(0.3, 0.3), through=axis) for name in PATTERNS for axis in ("", "x")))
    steps = torch.linspace(0, 1, 8001)
    local = steps[:, None] * torch.tensor([0.9, 0.3, -0.5]) + 0.1
    for index in range(len(materials.pattern)):
        color = materials.albedo(torch.full((8001,), index), local, local[:, :2], footprint_m=0.004)
        assert color.diff(dim=0).abs().max() < 0.05, list(PATTERNS)[index // 2]


def test_distant_surfaces_show_no_detail():
    texels = pack(bake("mosaic")[None]).flatten()
    place = torch.rand(2, 500, generator=torch.Generator().manual_seed(0))
    zero = torch.zeros(500).long()
    near, far = (look_up(texels, zero, place, detail.expand(500)) for detail in (FINEST, COARSEST))
    assert far.std(1).max() < 0.5 * near.std(1).max()
    torch.testing.assert_close(near.mean(1), far.mean(1), rtol=0, atol=0.05)


def test_tiles_repeat_at_every_level():
    texels = pack(bake("flowers")[None]).flatten()
    place = torch.rand(2, 100, generator=torch.Generator().manual_seed(0))
    for level in range(LEVELS):
        detail = torch.full((100,), 2.0**level / SIDE_PX)
        zero = torch.zeros(100).long()
        once, again = (look_up(texels, zero, place + shift, detail) for shift in (0, 3))
        torch.testing.assert_close(once, again, rtol=0, atol=1e-3)


@pytest.fixture
def pictures(tmp_path) -> PictureSet:
    wide = np.zeros((60, 120, 3), np.uint8)
    wide[:, :60] = (200, 30, 30)
    wide[:, 60:] = (30, 30, 200)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    Image.fromarray(np.full((50, 40, 3), 128, np.uint8)).save(tmp_path / "grey.jpg")
    return PictureSet.from_files([tmp_path / "wide.png", tmp_path / "grey.jpg"])


def test_pictures_of_a_user_cover_faces_in_their_own_colours(pictures):
    assert len(pictures) == 2
    assert pictures.aspects == (2.0, 0.8)
    materials = table(*(cut(0, repeat_m=(width, 0.5), grain=0.0) for width in (1.0, -1.0)), pictures=pictures)
    uv = torch.tensor([[-0.3, 0.1], [0.3, -0.1]])
    plain, mirrored = (materials.albedo(torch.full((2,), k), torch.zeros(2, 3), uv) ** (1 / 2.2) * 255 for k in (0, 1))
    torch.testing.assert_close(plain, torch.tensor([[200.0, 30, 30], [30, 30, 200]]), rtol=0, atol=2)
    torch.testing.assert_close(mirrored, plain.flip(0))


def test_pictures_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "broken.png").write_text("no picture")
    with pytest.raises(InputError, match=r"broken\.png"):
        PictureSet.from_files([tmp_path / "broken.png"])
    with pytest.raises(InputError, match="at least one"):
        PictureSet.from_files([])


def test_noise_is_smooth_and_repeats_nowhere_near():
    points = torch.linspace(0, 20, 20001) * torch.tensor([1.0, 0.3, -0.7])[:, None]
    for noise in fractal_noise(points):
        assert 0 <= noise.min() <= noise.max() <= 1
        assert noise.diff().abs().max() < 0.03
        assert noise.std() > 0.15
    along = torch.linspace(0, 8, 2001) * torch.tensor([1.0, 0.0, 0.0])[:, None]
    shifted = along + torch.tensor([8.0, 0.0, 0.0])[:, None]
    assert (fractal_noise(along)[0] - fractal_noise(shifted)[0]).abs().mean() > 0.1
