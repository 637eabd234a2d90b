"""Pictures of every mode and size become RGB squares; bad ones are named."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cckeras.data.pictures import (
    Framing,
    PictureError,
    PictureImages,
    PictureMemory,
    is_picture,
    read_picture,
)
from cckeras.data.pipeline import evaluation_batches, training_batches
from cckeras.data.sources import Split
from cckeras.errors import InputError

COLOUR = (200, 100, 50)
GREY = (90, 90, 90)
HALF_ON_WHITE = (227, 177, 152)
WHITE = (255, 255, 255)
SIZES = [(7, 53), (53, 7), (1, 1), (64, 64), (301, 200)]


def image(mode, colour, size=(7, 53)):
    """Return an image of one colour; P has a palette of one entry."""
    if mode == "I;16":
        return Image.fromarray(np.full(size[::-1], colour, np.uint16))
    if mode == "P":
        return Image.new("RGB", size, colour).quantize(4)
    if mode in ("CMYK", "YCbCr", "HSV"):
        return Image.new("RGB", size, colour).convert(mode)
    return Image.new(mode, size, colour)


def saved(folder, name, picture, **options):
    picture.save(folder / name, **options)
    return folder / name


# File name, mode, colour in it, colour to read, options for saving.
MODES = [
    ("rgb.png", "RGB", COLOUR, COLOUR, {}),
    ("rgb.JPG", "RGB", COLOUR, COLOUR, {"quality": 95}),
    ("rgb.bmp", "RGB", COLOUR, COLOUR, {}),
    ("rgb.ppm", "RGB", COLOUR, COLOUR, {}),
    ("rgb.tif", "RGB", COLOUR, COLOUR, {}),
    ("rgb.webp", "RGB", COLOUR, COLOUR, {"lossless": True}),
    ("rgb_key.png", "RGB", COLOUR, WHITE, {"transparency": COLOUR}),
    ("cmyk.jpg", "CMYK", COLOUR, COLOUR, {"quality": 95}),
    ("cmyk.tiff", "CMYK", COLOUR, COLOUR, {}),
    ("ycbcr.tif", "YCbCr", COLOUR, COLOUR, {}),
    ("l.png", "L", 90, GREY, {}),
    ("l.jpeg", "L", 90, GREY, {}),
    ("l.pgm", "L", 90, GREY, {}),
    ("la.png", "LA", (90, 255), GREY, {}),
    ("la_clear.png", "LA", (90, 0), WHITE, {}),
    ("p.png", "P", COLOUR, COLOUR, {}),
    ("p.gif", "P", COLOUR, COLOUR, {}),
    ("p_key.png", "P", COLOUR, WHITE, {"transparency": 0}),
    ("p_half.png", "P", COLOUR, HALF_ON_WHITE, {"transparency": b"\x80"}),
    ("p_key.gif", "P", COLOUR, WHITE, {"transparency": 0}),
    ("rgba.png", "RGBA", (*COLOUR, 128), HALF_ON_WHITE, {}),
    ("rgba.tif", "RGBA", (*COLOUR, 128), HALF_ON_WHITE, {}),
    ("rgba.webp", "RGBA", (*COLOUR, 128), HALF_ON_WHITE, {"lossless": True}),
    ("black.png", "1", 0, (0, 0, 0), {}),
    ("white.tif", "1", 1, WHITE, {}),
    ("i16.png", "I;16", 90 * 257, GREY, {}),
]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("case", MODES, ids=[case[0] for case in MODES])
def test_a_uniform_colour_survives(tmp_path, case, size):
    name, mode, colour, expected, options = case
    path = saved(tmp_path, name, image(mode, colour, size), **options)
    picture = read_picture(path, Framing(16))
    assert (picture.shape, picture.dtype) == ((16, 16, 3), np.uint8)
    assert np.abs(picture.astype(int) - expected).max() <= 2


@given(
    width=st.integers(1, 90), height=st.integers(1, 90), size=st.integers(1, 70)
)
def test_any_size_becomes_a_square(tmp_path_factory, width, height, size):
    folder = tmp_path_factory.mktemp("pictures")
    path = saved(folder, "a.png", image("RGB", COLOUR, (width, height)))
    picture = read_picture(path, Framing(size))
    assert picture.shape == (size, size, 3)
    assert np.all(picture == COLOUR)


@pytest.mark.parametrize("kind", ["png", "tif", "pgm"])
@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, 0), (128, 0), (129, 1), (32768, 128), (65535, 255)],
)
def test_sixteen_bits_are_scaled(tmp_path, kind, value, expected):
    path = saved(tmp_path, f"a.{kind}", image("I;16", value))
    assert np.all(read_picture(path, Framing(8)) == expected)


def test_sixteen_bits_of_the_other_byte_order(tmp_path):
    content = np.full((53, 7), 32768, ">u2").tobytes()
    picture = Image.frombytes("I;16B", (7, 53), content)
    assert np.all(
        read_picture(saved(tmp_path, "a.tif", picture), Framing(8)) == 128
    )


def test_the_centre_is_kept_exactly(tmp_path, rng):
    pixels = rng.integers(0, 256, (53, 7, 3), np.uint8)
    tall = saved(tmp_path, "tall.png", Image.fromarray(pixels))
    wide = saved(tmp_path, "wide.png", Image.fromarray(pixels.swapaxes(0, 1)))
    np.testing.assert_array_equal(read_picture(tall, Framing(7)), pixels[23:30])
    expected = pixels[23:30].swapaxes(0, 1)
    np.testing.assert_array_equal(read_picture(wide, Framing(7)), expected)


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_shrinking_averages(tmp_path, kind):
    board = np.indices((512, 512)).sum(0) % 2 * 255
    path = saved(tmp_path, f"a.{kind}", Image.fromarray(board.astype(np.uint8)))
    picture = read_picture(path, Framing(16))
    assert np.abs(picture.astype(int) - 127).max() <= 3


def test_a_large_jpeg_is_as_good_as_a_large_png(tmp_path):
    ramp = np.linspace(0, 255, 1200).astype(np.uint8)
    large = Image.fromarray(np.broadcast_to(ramp, (900, 1200)).copy())
    jpeg = read_picture(
        saved(tmp_path, "a.jpg", large, quality=95), Framing(32)
    )
    png = read_picture(saved(tmp_path, "a.png", large), Framing(32))
    assert np.abs(jpeg.astype(int) - png).max() <= 3


TURNED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    8: lambda a: np.rot90(a),
    9: lambda a: a,
}


@pytest.mark.parametrize("orientation", TURNED)
def test_exif_orientation_is_applied(tmp_path, rng, orientation):
    pixels = rng.integers(0, 256, (6, 6, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, "a.png", Image.fromarray(pixels), exif=exif)
    expected = TURNED[orientation](pixels)
    np.testing.assert_array_equal(read_picture(path, Framing(6)), expected)


def test_damaged_exif_does_not_harm_the_picture(tmp_path):
    for exif in (b"Exif\0\0nonsense", b"Exif\0\0II*\0\x08\0\0\0\xff"):
        path = saved(tmp_path, "a.png", image("RGB", COLOUR), exif=exif)
        assert np.all(read_picture(path, Framing(8)) == COLOUR)


def test_the_first_picture_of_an_animation_is_read(tmp_path):
    frames = [Image.new("RGB", (9, 9), colour) for colour in (COLOUR, GREY)]
    path = tmp_path / "a.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert np.all(read_picture(path, Framing(8)) == COLOUR)


BAD = {
    "empty": (b"", "an empty file"),
    "bomb": (b"P6 20000 20000 255 ", "decompression bomb"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n", "damaged, or none of"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_named(tmp_path, kind):
    content, reason = BAD[kind]
    path = tmp_path / f"{kind}.png"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_picture(path, Framing(8))
    text = str(caught.value)
    assert text.startswith(f"Expected {path} to be a readable picture.")
    assert reason in text
    assert "\n" not in text
    path.unlink()
    with pytest.raises(PictureError, match="No such file"):
        read_picture(path, Framing(8))


@pytest.mark.parametrize("mode", ["F", "I"])
def test_32_bits_a_channel_are_refused(tmp_path, mode):
    path = saved(tmp_path, "a.tif", Image.new(mode, (9, 9)))
    with pytest.raises(PictureError, match=r"a\.tif.*32 bits a channel"):
        read_picture(path, Framing(8))


KINDS = ("jpg", "png", "bmp", "gif", "webp", "tif", "ppm")
FILES = [(f"a.{kind}", {}) for kind in KINDS]
FILES += [("a.jpg", {"progressive": True})]
FILES += [("a.tif", {"compression": "tiff_lzw"})]


@pytest.mark.parametrize(("name", "options"), FILES)
@pytest.mark.parametrize("size", [1, 200])
def test_a_truncated_file_never_gives_other_pixels(
    tmp_path, rng, name, options, size
):
    small = Image.fromarray(rng.integers(0, 256, (9, 7, 3), np.uint8))
    path = saved(tmp_path, name, small.resize((230, 170)), **options)
    whole, content = read_picture(path, Framing(size)), path.read_bytes()
    refused = 0
    for kept in (0.01, 0.3, 0.6, 0.9, 0.99, 1 - 1 / len(content)):
        path.write_bytes(content[: int(kept * len(content))])
        try:
            picture = read_picture(path, Framing(size))
        except PictureError:
            refused += 1
        else:
            # What was cut off came after the pixels.
            np.testing.assert_array_equal(picture, whole)
    assert refused >= 5


def test_pictures_are_known_by_their_extension(tmp_path):
    for name in ("a.jpg", "a.JPEG", "a.b.Png", "a.tiff", "a b.webp"):
        assert is_picture(tmp_path / name)
    for name in ("Thumbs.db", "notes.txt", "jpg", ".jpg", "._a.jpg"):
        assert not is_picture(tmp_path / name)


@pytest.fixture
def paths(tmp_path):
    """Five pictures; number i is of the colour (40 i, 0, 0)."""
    return [
        saved(tmp_path, f"{i}.png", Image.new("RGB", (9, 8), (40 * i, 0, 0)))
        for i in range(5)
    ]


def test_pictures_are_read_by_index(paths):
    images = PictureImages(paths, Framing(4))
    assert len(images) == 5
    picked = images.read(np.array([3, 0, 3]))
    assert (picked.shape, picked.dtype) == ((3, 4, 4, 3), np.uint8)
    assert picked[:, 0, 0, 0].tolist() == [120, 0, 120]
    picked[:] = 7  # What is kept does not change.
    assert images.read([3])[0, 0, 0, 0] == 120
    assert images.read(np.array([], int)).shape == (0, 4, 4, 3)


def test_pictures_are_kept_up_to_a_limit(paths):
    images = PictureImages(paths, Framing(4), PictureMemory(2 * 4 * 4 * 3))
    first = images.read([1, 2, 3])
    for path in paths:
        path.unlink()
    np.testing.assert_array_equal(images.read([2, 1]), first[[1, 0]])
    with pytest.raises(PictureError, match=r"3\.png"):
        images.read([3])


@pytest.mark.parametrize("kept_bytes", [0, 10**6])
def test_grain_reads_pictures(paths, kept_bytes):
    images = PictureImages(paths, Framing(4), PictureMemory(kept_bytes))
    split = Split(images, np.arange(5))
    options = {"task": "a", "batch_size": 2, "augmentation": "none", "seed": 0}
    batches = training_batches(split, first_epoch=0, epochs=2, **options)
    seen = []
    for pictures, labels in batches:
        assert pictures[:, 0, 0, 0].tolist() == (40 * labels).tolist()
        seen += labels.tolist()
    assert sorted(seen) == sorted([*range(5)] * 2)


def test_a_picture_that_vanishes_is_named_through_grain(paths):
    split = Split(PictureImages(paths, Framing(4)), np.arange(5))
    paths[4].unlink()
    with pytest.raises(InputError, match=r"4\.png"):
        next(iter(evaluation_batches(split)))


def test_check_names_three_bad_pictures_and_counts_all(paths):
    PictureImages(paths, Framing(4)).check()
    paths[4].write_bytes(paths[4].read_bytes()[:40])
    with pytest.raises(InputError, match=r"Expected .*4\.png to be a readable"):
        PictureImages(paths, Framing(4)).check()
    for path in paths[1:]:
        path.write_bytes(b"")
    with pytest.raises(InputError) as caught:
        PictureImages(paths, Framing(4)).check()
    text = str(caught.value)
    assert "Received: 4 that are not" in text
    assert "1.png (an empty file), " in text
    assert text.endswith(
        "3.png (an empty file) and 1 more. Replace or delete them."
    )


def test_a_random_crop_is_part_of_the_picture(tmp_path):
    pixels = np.zeros((80, 120, 3), np.uint8)
    pixels[..., 0] = np.arange(120)[None]
    pixels[..., 1] = np.arange(80)[:, None]
    path = saved(tmp_path, "ramp.png", Image.fromarray(pixels))
    images = PictureImages([path] * 20, Framing(16))
    crops = images.crops(np.arange(20), np.random.default_rng(3))
    assert crops.shape == (20, 16, 16, 3)
    widths = crops[:, 8, -1, 0].astype(int) - crops[:, 8, 0, 0]
    assert widths.min() >= 0
    assert len(set(widths.tolist())) > 5
    same = images.crops(np.arange(20), np.random.default_rng(3))
    np.testing.assert_array_equal(crops, same)


def test_memory_is_shared_and_bounded(tmp_path):
    paths = [
        saved(tmp_path, f"{n}.png", image("RGB", (n, n, n))) for n in range(3)
    ]
    memory = PictureMemory(2 * 16 * 16 * 3)
    images = PictureImages(paths, Framing(16), memory)
    before = images.read([0, 1, 2])
    for path in paths[:2]:
        path.unlink()
    np.testing.assert_array_equal(images.read([0, 1, 2]), before)
    paths[2].unlink()
    with pytest.raises(PictureError):
        images.read([2])
