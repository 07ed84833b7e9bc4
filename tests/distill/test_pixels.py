"""Bytes to pixels: every kind of file that image folders hold."""

import io
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from distill.images.pixels import DARK, Unreadable, decode, inspect, is_image

SIDE = 24


def saved(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def plain(colour, size=(40, 32), mode="RGB"):
    return Image.new(mode, size, colour)


def noisy(size=(300, 200)):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


KINDS = {
    "greyscale": (saved(plain(100, mode="L")), "greyscale", (100, 100, 100)),
    "bilevel": (saved(plain(1, mode="1")), "bilevel", (255, 255, 255)),
    "palette": (saved(plain((10, 200, 30)).convert("P", palette=Image.Palette.ADAPTIVE)), "palette", (10, 200, 30)),
    "CMYK": (saved(plain((255, 0, 0, 0), mode="CMYK"), "JPEG", quality=100), "CMYK", (0, 255, 255)),
    "16-bit": (saved(Image.fromarray(np.full((32, 40), 257 * 70, np.uint16))), "16-bit", (70, 70, 70)),
    "transparent": (saved(plain((200, 0, 0, 0), mode="RGBA")), "transparent", (255, 255, 255)),
    "half transparent": (saved(plain((0, 0, 0, 51), mode="RGBA")), "transparent", (204, 204, 204)),
    "grey with alpha": (saved(plain((9, 255), mode="LA")), "transparent", (9, 9, 9)),
    "animated": (
        saved(plain((255, 0, 0)), "GIF", save_all=True, append_images=[plain((0, 0, 255))]),
        "animated",
        (255, 0, 0),
    ),
    "plain": (saved(plain((1, 2, 3))), None, (1, 2, 3)),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_becomes_rgb_and_is_called_what_it_was(name):
    content, kind, colour = KINDS[name]
    pixels = decode(content, SIDE)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (3, SIDE, SIDE)
    # JPEG rounds in another space of colours, and palettes of GIF to few bits: two levels at most on a plain image.
    assert np.abs(pixels.astype(int) - np.array(colour)[:, None, None]).max() <= 2
    assert inspect(content) == kind


BROKEN = {
    "empty": b"",
    "text": b"<html>404 not found</html>" * 40,
    "truncated JPEG": saved(noisy(), "JPEG")[:4000],
    "truncated PNG": saved(noisy())[:4000],
    "header alone": saved(noisy(), "JPEG")[:20],
    "floating point": saved(Image.fromarray(np.full((32, 32), 0.5, np.float32)), "TIFF"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_can_not_be_read_is_refused_with_a_reason_by_both(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for read in (inspect, lambda content: decode(content, SIDE)):
            with pytest.raises(Unreadable, match=r"\w+"):
                read(BROKEN[name])


def test_a_file_that_asks_for_gigabytes_is_refused_before_they_are_taken():
    """A PNG header of 60,000 × 60,000 pixels: 10 gigabytes in RGB, a hundred bytes on disk."""
    content = bytearray(saved(plain((0, 0, 0))))
    content[16:24] = (60_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    with pytest.raises(Unreadable, match="178"):
        inspect(bytes(content))


def test_the_centre_is_cut_out_and_stretching_keeps_all():
    """Left third red, middle green, right blue, 3:1: the centre square is the middle alone."""
    image = np.zeros((30, 90, 3), np.uint8)
    for third in range(3):
        image[:, 30 * third : 30 * third + 30, third] = 255
    content = saved(Image.fromarray(image))
    cut = decode(content, 30)
    np.testing.assert_array_equal(cut, np.moveaxis(image[:, 30:60], -1, 0))
    whole = decode(content, 30, "stretch")
    for third in range(3):
        # Away from the edges, where the cubic kernel of ±2 output pixels mixes them, a third is its own colour.
        inside = whole[:, :, 10 * third + 2 : 10 * third + 8]
        assert inside[third].min() == 255
        assert np.delete(inside, third, 0).max() == 0


@pytest.mark.parametrize("size", [16, 64])
def test_decoding_jpeg_at_a_fraction_stays_close_to_decoding_it_whole(size):
    """A smooth image, 512 pixels a side: no detail is finer than what either way keeps."""
    ramp = np.linspace(0, 255, 512)
    image = Image.fromarray(np.stack(np.broadcast_arrays(ramp[:, None], ramp, 128.0), -1).astype(np.uint8))
    content = saved(image, "JPEG", quality=95)
    whole = decode(saved(Image.open(io.BytesIO(content))), size)
    # Both round to levels, once in the transform and once in the resampling, and the colours once more.
    assert np.abs(decode(content, size).astype(int) - whole).max() <= 4


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_images_stand_upright_as_cameras_say(turn, kind):
    """A corner of another colour, stored in each of the eight ways of EXIF; Pillow's own transposition is undone first."""
    upright = np.zeros((64, 96, 3), np.uint8)
    upright[:32, :48] = 255
    ways = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_90", 7: "TRANSVERSE"}
    ways[8] = "ROTATE_270"
    image = Image.fromarray(upright)
    stored = image.transpose(Image.Transpose[ways[turn]]) if turn in ways else image
    exif = Image.Exif()
    exif[0x0112] = turn
    # The corner is that of whole blocks of JPEG, which hold one colour each.
    pixels = decode(saved(stored, kind, exif=exif), 32, "stretch")
    assert pixels[:, 2:14, 2:14].min() > 250
    assert max(pixels[:, 18:].max(), pixels[:, :, 18:].max()) < 5


def test_metadata_that_can_not_be_read_make_no_bad_image():
    content = saved(plain((1, 2, 3)), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert decode(content, SIDE).shape == (3, SIDE, SIDE)
    assert inspect(content) is None


def test_a_png_with_a_long_note_is_read():
    """What an editor keeps of its settings: more than the megabyte that Pillow allows."""
    notes = PngInfo()
    notes.add_text("XML:com.adobe.xmp", "x" * 3_000_000, zip=True)
    content = saved(plain((1, 2, 3)), pnginfo=notes)
    assert inspect(content) is None
    assert decode(content, SIDE)[:, 0, 0].tolist() == [1, 2, 3]


def test_twelve_bits_in_sixteen_are_told_and_read_as_the_recipe_says():
    ramp = np.linspace(0, 4095, 32 * 32).reshape(32, 32).round().astype(np.uint16)
    content = saved(Image.fromarray(ramp))
    assert inspect(content) == DARK
    assert inspect(content, 12) == "16-bit"
    np.testing.assert_array_equal(decode(content, 32, bits=12)[0], np.round(ramp * 255.0 / 4095))
    assert inspect(saved(Image.fromarray(16 * ramp))) == "16-bit"
    with pytest.raises(Unreadable, match="beyond 12 bits"):
        decode(saved(Image.fromarray(16 * ramp)), 32, bits=12)


def test_what_is_called_as_images_are():
    named = ("a.JPEG", "a.jfif", "a.avif", "a.pgm", "a.HEIC", "a.jpe", "a.tiff")
    assert all(map(is_image, named))
    assert not any(map(is_image, ("._a.JPEG", ".a.png", "a.txt", "jpg", "a.json")))
