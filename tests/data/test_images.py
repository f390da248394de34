import io
import struct
import sys
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rayzer.data import images
from rayzer.data.images import (
    MAX_PIXELS,
    EncodedImage,
    ImageFit,
    Preprocessing,
    fit_cover,
    open_photo,
    photo_size,
    read_header,
)
from rayzer.errors import InputError

ORIENTATION = 0x0112
EXIF_IFD = 0x8769
TIME_TAKEN = 0x9003


def corners():
    """A picture of 30x20 pixels whose four quarters differ: red, green / blue, white."""
    pixels = np.full((20, 30, 3), 255, np.uint8)
    pixels[:10, :15], pixels[:10, 15:], pixels[10:, :15] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    return pixels


def how_a_camera_stores(upright, orientation):
    """Pixels that EXIF `orientation` turns into `upright`: the inverse of the table in the EXIF standard."""
    inverse = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: np.rot90(a, -1),
    }
    return np.ascontiguousarray(inverse[orientation](upright))


def save_turned(path, orientation, **options):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(how_a_camera_stores(corners(), orientation)).save(path, exif=exif, **options)


def png(width, height, bit_depth, colour_type, rows):
    """A PNG written by hand."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(rows, 9))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


def refused(path, *words):
    with pytest.raises(InputError) as caught:
        open_photo(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert "; " in message  # what; what to do
    for word in words:
        assert word in message


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, orientation):
    path = tmp_path / "photo.png"
    save_turned(path, orientation)
    assert photo_size(path) == (30, 20)
    np.testing.assert_array_equal(np.asarray(open_photo(path)), corners())


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_exif_orientation_of_compressed_photos(tmp_path, orientation, suffix):
    path = tmp_path / f"photo.{suffix}"
    save_turned(path, orientation, quality=95, **({"subsampling": 0} if suffix == "jpg" else {}))
    assert photo_size(path) == (30, 20)
    difference = np.asarray(open_photo(path)).astype(int) - corners()
    assert np.abs(difference[3:7, 3:12]).max() < 20
    assert np.abs(difference[13:17, 18:27]).max() < 20


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_unknown_orientation_is_ignored(tmp_path, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(corners()).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(np.asarray(open_photo(tmp_path / "a.png")), corners())


def test_broken_exif_does_not_lose_the_photo(tmp_path):
    Image.fromarray(corners()).save(tmp_path / "a.png", exif=b"Exif\x00\x00garbage")
    np.testing.assert_array_equal(np.asarray(open_photo(tmp_path / "a.png")), corners())


def test_16_bit_grey_is_scaled_not_clipped(tmp_path):
    ramp = np.linspace(0, 65535, 256).round().astype(np.uint16)[None].repeat(4, 0)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    pixels = np.asarray(open_photo(tmp_path / "a.png"))
    np.testing.assert_array_equal(pixels, np.arange(256, dtype=np.uint8)[None, :, None].repeat(4, 0).repeat(3, 2))


def test_16_bit_colour(tmp_path):
    row = np.array([[0, 0, 0], [65535, 0, 32768], [257, 65535, 65535]], ">u2").tobytes()
    (tmp_path / "a.png").write_bytes(png(3, 1, 16, 2, b"\0" + row))
    expected = [[[0, 0, 0], [255, 0, 128], [1, 255, 255]]]
    np.testing.assert_array_equal(np.asarray(open_photo(tmp_path / "a.png")), expected)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_modes_without_alpha(tmp_path, mode):
    image = Image.fromarray(corners()).convert(mode)
    image.save(tmp_path / "a.png")
    result = open_photo(tmp_path / "a.png")
    assert result.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(result), np.asarray(image.convert("RGB")))


def test_cmyk_jpeg(tmp_path):
    Image.fromarray(corners()).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    pixels = np.asarray(open_photo(tmp_path / "a.jpg")).astype(int)
    assert pixels.shape == (20, 30, 3)
    assert np.abs(pixels - corners())[3:7, 3:12].max() < 20
    assert np.abs(pixels - corners())[13:17, 18:27].max() < 20


def test_alpha_lies_over_white(tmp_path):
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 0] = 200
    rgba[0, :, 3] = 0, 51, 255
    Image.fromarray(rgba).save(tmp_path / "a.png")
    expected = [[[255, 255, 255], [244, 204, 204], [200, 0, 0]]]
    np.testing.assert_array_equal(np.asarray(open_photo(tmp_path / "a.png")), expected)


def test_palette_with_transparent_entry_lies_over_white(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png", transparency=0)
    assert Image.open(tmp_path / "a.png").mode == "P"
    pixels = np.asarray(open_photo(tmp_path / "a.png"))
    np.testing.assert_array_equal(pixels, [[[255, 255, 255], [40, 50, 60]]])


def test_grey_with_alpha(tmp_path):
    Image.fromarray(np.array([[[100, 0], [100, 255]]], np.uint8)).save(tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").mode == "LA"
    np.testing.assert_array_equal(np.asarray(open_photo(tmp_path / "a.png"))[0, :, 0], [255, 100])


def test_bomb_is_refused_before_decoding(tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(png(13_000, 13_000, 1, 0, bytes(1626 * 13_000)))
    assert path.stat().st_size < 25_000
    path.write_bytes(path.read_bytes()[:60])  # nothing to decode: only the header may have been read
    refused(path, "13000x13000", "save a smaller copy")
    with pytest.raises(InputError, match="13000x13000"):
        photo_size(path)


def test_bomb_that_pillow_refuses(tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(png(60_000, 60_000, 1, 0, b""))
    refused(path, "megapixels")


def test_pictures_below_the_cap_raise_no_warnings(tmp_path):
    width, height = 11_000, 10_000
    assert Image.MAX_IMAGE_PIXELS < width * height < MAX_PIXELS
    path = tmp_path / "large.png"
    path.write_bytes(png(width, height, 1, 0, b""))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert photo_size(path) == (width, height)


def test_strips_are_refused(tmp_path):
    Image.new("RGB", (1000, 2)).save(tmp_path / "strip.png")
    refused(tmp_path / "strip.png", "1000x2")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_truncated(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 255, (100, 100, 3), dtype=np.uint8)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    if suffix != "webp":  # which is refused at once
        assert photo_size(path) == (100, 100)
    refused(path, "is damaged", "copy it again")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a picture"),
        (b"just text\n", "not a picture"),
        (b"\xff\xd8\xff\xe0", "is"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
    ],
)
def test_files_that_are_no_pictures(tmp_path, content, words):
    (tmp_path / "a.jpg").write_bytes(content)
    refused(tmp_path / "a.jpg", words)


def test_missing_file_and_folder(tmp_path):
    refused(tmp_path / "no.jpg", "there is no such file")
    refused(tmp_path, "is a folder")


def test_formats_that_are_not_read_say_so(tmp_path):
    Image.fromarray(corners()).save(tmp_path / "a.tif")
    refused(tmp_path / "a.tif", "not a picture in a format that is read", "JPEG or PNG")


def heic_bytes():
    pillow_heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(corners()).resize((120, 80))).save(file)
    return file.getvalue()


@pytest.mark.parametrize("name", ["a.heic", "named_wrongly.jpg"])
def test_heic(tmp_path, name):
    (tmp_path / name).write_bytes(heic_bytes())
    assert photo_size(tmp_path / name) == (120, 80)
    assert open_photo(tmp_path / name).getpixel((10, 10)) == pytest.approx((255, 0, 0), abs=20)


def test_heic_without_support_says_how_to_get_it(tmp_path, monkeypatch):
    (tmp_path / "a.heic").write_bytes(heic_bytes())
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    refused(tmp_path / "a.heic", 'pip install "rayzer[heic]"')


@pytest.mark.parametrize(
    ("stored", "expected"), [("2024:05:06 07:08:09", "2024:05:06 07:08:09"), ("0000:00:00 00:00:00", None)]
)
def test_time_taken(tmp_path, stored, expected):
    exif = Image.Exif()
    exif[EXIF_IFD] = {TIME_TAKEN: stored}
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", exif=exif)
    assert read_header(tmp_path / "a.jpg").taken == expected


@pytest.mark.parametrize(
    ("source", "size", "patch", "resized", "offset"),
    [
        ((1920, 1080), 256, 16, (448, 256), (96, 0)),
        ((1080, 1920), 256, 16, (256, 448), (0, 96)),
        ((128, 72), 32, 8, (56, 32), (12, 0)),  # int(56.9) = 56
        ((100, 72), 32, 8, (48, 32), (8, 0)),  # 44 / 8 = 5.5 rounds to the even 6
        ((104, 64), 32, 8, (48, 32), (8, 0)),  # 52 / 8 = 6.5 rounds to the even 6
        ((64, 64), 32, 8, (32, 32), (0, 0)),
        ((735, 392), 32, 8, (56, 32), (12, 0)),  # 32 / 392 * 735 = 59.99999999999999, in this order
        ((88, 99), 96, 8, (96, 104), (0, 4)),  # 96 / 88 * 99 = 107.99999999999999
        ((10, 10), 256, 16, (256, 256), (0, 0)),
    ],
)
def test_fit_cover_of_a_square(source, size, patch, resized, offset):
    fit = fit_cover(*source, size, size, patch)
    assert (fit.resized_width_px, fit.resized_height_px) == resized
    assert (fit.left_px, fit.top_px) == offset
    assert (fit.width_px, fit.height_px) == (size, size)


def test_fit_cover_of_a_wide_target():
    assert fit_cover(1080, 1920, 448, 256, 16) == ImageFit(1080, 1920, 448, 800, 0, 272, 448, 256)
    assert fit_cover(4000, 1000, 448, 256, 16) == ImageFit(4000, 1000, 1024, 256, 288, 0, 448, 256)


@pytest.mark.parametrize("sizes", [(0, 5, 32, 32, 8), (5, 5, 30, 32, 8), (5, 5, 32, 30, 8), (5, 5, 0, 0, 8)])
def test_fit_refuses_impossible_sizes(sizes):
    with pytest.raises(ValueError):
        fit_cover(*sizes)


def test_apply_is_resize_then_crop():
    noise = np.random.default_rng(0).integers(0, 255, (72, 128, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(noise).resize((56, 32), Image.Resampling.LANCZOS))[:, 12:44]
    np.testing.assert_array_equal(fit_cover(128, 72, 32, 32, 8).apply(Image.fromarray(noise)), expected)


def test_apply_refuses_another_picture():
    with pytest.raises(ValueError, match="9x9"):
        fit_cover(128, 72, 32, 32, 8).apply(Image.new("RGB", (9, 9)))


side = st.integers(8, 5000)
patch_sizes = st.sampled_from([1, 2, 7, 8, 14, 16])
fits = st.builds(
    lambda w, h, a, b, p: fit_cover(w, h, a * p, b * p, p),
    side,
    side,
    st.integers(1, 40),
    st.integers(1, 40),
    patch_sizes,
)
intrinsics = st.tuples(*[st.floats(1, 5000)] * 2, *[st.floats(-5000, 5000)] * 2)


@settings(deadline=None)
@given(fits, intrinsics)
def test_intrinsics_go_there_and_back(fit, fxfycxcy):
    there = fit.intrinsics_to_fitted(fxfycxcy)
    assert there.dtype == np.float64
    np.testing.assert_allclose(fit.intrinsics_to_source(there), fxfycxcy, rtol=1e-9, atol=1e-6)


@settings(deadline=None)
@given(fits, intrinsics, st.floats(0, 1), st.floats(0, 1))
def test_pixels_stay_on_their_rays(fit, fxfycxcy, u, v):
    # a point of the fitted picture, and where the resized and cropped picture has it from
    point = np.array([u * fit.width_px, v * fit.height_px])
    scale = np.array([fit.resized_width_px / fit.source_width_px, fit.resized_height_px / fit.source_height_px])
    source_point = (point + np.array([fit.left_px, fit.top_px])) / scale

    def ray(xy, fxfycxcy):
        return (xy - fxfycxcy[2:]) / fxfycxcy[:2]

    fitted = fit.intrinsics_to_fitted(fxfycxcy)
    np.testing.assert_allclose(ray(point, fitted), ray(source_point, np.array(fxfycxcy)), rtol=1e-6, atol=1e-6)


@settings(deadline=None)
@given(fits)
def test_the_crop_lies_inside_and_covers_one_side(fit):
    assert 0 <= fit.left_px <= fit.resized_width_px - fit.width_px
    assert 0 <= fit.top_px <= fit.resized_height_px - fit.height_px
    assert fit.resized_width_px == fit.width_px or fit.resized_height_px == fit.height_px


@settings(deadline=None)
@given(side, side, st.integers(1, 40), patch_sizes)
def test_portrait_is_landscape_with_the_sides_exchanged(width, height, patches, patch):
    side = patches * patch
    a, b = (fit_cover(*size, side, side, patch) for size in ((width, height), (height, width)))
    assert (a.resized_width_px, a.resized_height_px) == (b.resized_height_px, b.resized_width_px)
    assert (a.left_px, a.top_px) == (b.top_px, b.left_px)


def test_a_bright_spot_moves_as_the_intrinsics_say():
    """Pixel centres are at +0.5: the spot's centre of mass follows the principal point."""
    pixels = np.zeros((90, 200, 3), np.uint8)
    pixels[40:44, 110:116] = 255
    fit = fit_cover(200, 90, 48, 48, 8)
    spot = fit.apply(Image.fromarray(pixels)).astype(float).sum(-1)
    y, x = np.mgrid[: fit.height_px, : fit.width_px] + 0.5
    centre = (spot * x).sum() / spot.sum(), (spot * y).sum() / spot.sum()
    assert centre == pytest.approx(fit.intrinsics_to_fitted([1, 1, 113, 42])[2:], abs=0.1)


def fitted_slowly(fit, pixels):
    """Always resize, always crop."""
    resized = Image.fromarray(pixels).resize((fit.resized_width_px, fit.resized_height_px), Image.Resampling.LANCZOS)
    return np.asarray(resized)[fit.top_px :, fit.left_px :][: fit.height_px, : fit.width_px]


@pytest.mark.parametrize("size", [(32, 32), (32, 48), (57, 32), (64, 64), (32, 33)])
def test_pictures_that_have_their_size_are_returned_as_they_are(size):
    width, height = size
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    for square_crop in (True, False):
        fit = Preprocessing(32, 16, square_crop).fit(width, height)
        for picture in (pixels, Image.fromarray(pixels)):
            np.testing.assert_array_equal(fit.apply(picture), fitted_slowly(fit, pixels))
    untouched = Preprocessing(32, 16, False).fit(width, height).apply(pixels)
    assert (untouched is pixels) == (width % 16 == 0 and height % 16 == 0 and min(size) == 32)


def test_pixels_of_another_size_are_refused():
    with pytest.raises(ValueError, match="the picture has 32x16 pixels, expected 32x32"):
        Preprocessing(32, 16).fit(32, 32).apply(np.zeros((16, 32, 3), np.uint8))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("wrap", [bytes, lambda data: np.frombuffer(data, np.uint8)])
def test_bytes_are_read_as_the_file_is(tmp_path, orientation, wrap):
    path = tmp_path / "photo.jpg"
    save_turned(path, orientation, quality=95)
    encoded = EncodedImage(wrap(path.read_bytes()), "chunk: frame 3")
    assert read_header(encoded) == read_header(path)
    assert photo_size(encoded) == (30, 20)
    np.testing.assert_array_equal(encoded.load(), np.asarray(open_photo(path)))


def test_heic_bytes():
    assert photo_size(EncodedImage(heic_bytes(), "chunk: frame 3")) == (120, 80)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is not a picture"),
        (b"text", "is not a picture"),
        (png(16, 16, 8, 2, b"")[:60], "is damaged"),
        (png(20_000, 20_000, 8, 2, b""), "megapixels"),
        (png(12_000, 12_000, 8, 2, b""), "megapixels"),
        (png(1000, 2, 8, 2, b""), "64 times"),
    ],
)
def test_bytes_are_guarded_as_files_are(data, says):
    encoded = EncodedImage(data, "chunk: frame 3")
    for read in (open_photo, EncodedImage.load):
        with pytest.raises(InputError, match=rf"^chunk: frame 3: [^\n]*{says}"):
            read(encoded)


def test_only_the_header_of_a_picture_in_memory_is_read_for_its_size(monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (400, 600, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "PNG")
    data = np.frombuffer(stream.getvalue(), np.uint8)
    file, read, readinto = EncodedImage(data, "a clip: frame 3"), [], images._BytesInMemory.readinto

    def counted(self, buffer):
        read.append(readinto(self, buffer))
        return read[-1]

    monkeypatch.setattr(images._BytesInMemory, "readinto", counted)
    assert photo_size(file) == (600, 400)
    assert sum(read) < len(data) / 20
    np.testing.assert_array_equal(file.load(), noise)


@pytest.mark.parametrize("kind", [bytes, lambda data: np.frombuffer(data, np.uint8)], ids=["bytes", "array"])
def test_a_picture_in_memory_is_a_file_like_any_other(kind):
    data = bytes(range(256)) * 100
    file, twin = EncodedImage(kind(data), "a clip").open(), io.BytesIO(data)
    for offset, whence, size in ((0, 0, 10), (9000, 1, 20000), (-5, 2, 100), (3, 0, -1), (30_000, 0, 1)):
        assert (file.seek(offset, whence), file.read(size), file.tell()) == (
            twin.seek(offset, whence),
            twin.read(size),
            twin.tell(),
        )
