"""Picture files of any size and mode as RGB squares of one size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from cckeras.data.transforms import crop_box
from cckeras.errors import InputError

EXTENSIONS = (
    *(".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp"),
    *(".tif", ".tiff", ".ppm", ".pgm"),
)
# Named, because Pillow would also hand a mislabelled file to Ghostscript.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
KEPT_BYTES = 2 * 1024**3
NAMED = 3
# How to turn a picture whose EXIF orientation is the key.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class PictureError(InputError):
    """A file that is not a readable picture.

    Args:
        path: the file.
        reason: what is wrong with it.
    """

    def __init__(self, path, reason: str):
        super().__init__(
            f"Expected {path} to be a readable picture. Received: {reason}. "
            "Replace or delete it."
        )
        self.path = path
        self.reason = reason


class PictureMemory:
    """Pictures that were read, up to a number of bytes; shared by tasks.

    Args:
        most_bytes: pixels to keep at most; beyond, files are read every time.
    """

    def __init__(self, most_bytes: int = KEPT_BYTES):
        self.left = most_bytes
        # Grain's thread and the main one may both fill it: at worst a picture
        # is read twice.
        self._kept: dict[tuple, np.ndarray] = {}

    def __getstate__(self):
        # A worker process that got gigabytes would be long in starting.
        return {"left": 0, "_kept": {}}

    def get(self, key: tuple) -> np.ndarray | None:
        """Return what is kept under a key."""
        return self._kept.get(key)

    def keep(self, key: tuple, picture: np.ndarray) -> None:
        """Keep a picture if there is room."""
        if picture.nbytes <= self.left:
            self.left -= picture.nbytes
            self._kept[key] = picture


@dataclass(frozen=True)
class Framing:
    """How a picture of any size becomes a square.

    Args:
        size: side in pixels.
        margin: the shorter side is resized to `size + margin`, and the middle
            cut out.
        warp: both sides are resized to `size` instead.
    """

    size: int
    margin: int = 0
    warp: bool = False

    def to_json(self) -> dict:
        """Return what differs from the middle square, for a task's record."""
        changes = {"margin": self.margin, "warp": self.warp}
        return {name: value for name, value in changes.items() if value}


class PictureImages:
    """Picture files, each read when first asked for and then kept in memory.

    Args:
        paths: the files.
        framing: how they become squares.
        memory: where they are kept.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        framing: Framing,
        memory: PictureMemory | None = None,
    ):
        self.paths = tuple(paths)
        self.framing = framing
        self.shape = (framing.size, framing.size, 3)
        self.memory = memory or PictureMemory()

    def __len__(self):
        return len(self.paths)

    def read(self, indices) -> np.ndarray:
        """Return uint8 `[len(indices), size, size, 3]`.

        Raises:
            PictureError: if a file is not a readable picture.
        """
        images = np.empty((len(indices), *self.shape), np.uint8)
        for place, index in enumerate(indices):
            images[place] = self._picture(int(index))
        return images

    def crops(self, indices, rng: np.random.Generator) -> np.ndarray:
        """Return random resized crops of whole pictures, like `read`.

        Args:
            indices: of the pictures.
            rng: decides on the crops.
        """
        images = np.empty((len(indices), *self.shape), np.uint8)
        for place, index in enumerate(indices):
            images[place] = read_crop(
                self.paths[int(index)], self.framing.size, rng
            )
        return images

    def name(self, index) -> str:
        """Return the path of a picture's file."""
        return str(self.paths[int(index)])

    def check(self) -> None:
        """Read every picture, which the first epoch then finds in memory.

        Raises:
            InputError: that names the first unreadable files, and their
                number.
        """
        bad = []
        for index in range(len(self)):
            try:
                self._picture(index)
            except PictureError as error:
                bad.append(error)
        if len(bad) == 1:
            raise bad[0]
        if bad:
            named = [f"{error.path} ({error.reason})" for error in bad[:NAMED]]
            more = f" and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
            raise InputError(
                "Expected every picture to be readable. Received: "
                f"{len(bad)} that are not: {', '.join(named)}{more}. Replace "
                "or delete them."
            )

    def _picture(self, index):
        key = (self.paths[index], self.framing)
        picture = self.memory.get(key)
        if picture is None:
            picture = read_picture(self.paths[index], self.framing)
            self.memory.keep(key, picture)
        return picture


def is_picture(path: Path) -> bool:
    """Return whether a name has a picture's extension and is not hidden."""
    return path.suffix.lower() in EXTENSIONS and not path.name.startswith(".")


def read_picture(path: str | Path, framing: Framing) -> np.ndarray:
    """Read a picture: upright, on white, as a square.

    Of an animation, the first picture. Sixteen bits become eight.

    Args:
        path: a file in one of `FORMATS`.
        framing: how it becomes a square.

    Returns:
        RGB, uint8 `[size, size, 3]`.

    Raises:
        PictureError: if the file is missing, empty, damaged, of another
            format, or would be too large in memory.
    """
    size, middle = framing.size, framing.size + framing.margin

    def frame(rgb):
        if framing.warp:
            return rgb.resize((size, size), Image.Resampling.BICUBIC)
        # The middle of the resized picture is a resized middle.
        width, height = rgb.size
        side = min(width, height) * size / middle
        left, top = (width - side) / 2, (height - side) / 2
        return rgb.resize(
            (size, size),
            Image.Resampling.BICUBIC,
            box=(left, top, left + side, top + side),
        )

    return _read(path, middle, frame)


def read_crop(
    path: str | Path, size: int, rng: np.random.Generator
) -> np.ndarray:
    """Read a random resized crop of a picture (transforms.crop_box).

    Arguments, result and errors are those of `read_picture`, `rng` decides.
    """

    def frame(rgb):
        box = crop_box(rgb.size, rng)
        return rgb.resize((size, size), Image.Resampling.BILINEAR, box=box)

    return _read(path, size, frame)


def _read(path, least, frame):
    """Return `frame(RGB picture)` as an array; the picture may have been
    decoded smaller, its shorter side at least twice `least`."""
    try:
        if Path(path).stat().st_size == 0:
            raise ValueError("an empty file")
        with Image.open(path, formats=FORMATS) as image:
            # JPEG alone can decode smaller, and so faster; twice the size
            # leaves the resampling its quality.
            image.draft(None, (2 * least, 2 * least))
            turn = TURNS.get(_orientation(image))
            rgb = _rgb(image)
        if turn is not None:
            rgb = rgb.transpose(turn)
        return np.array(frame(rgb))
    # Decoders of damaged files raise nearly anything.
    except Exception as error:
        raise PictureError(path, _reason(error)) from error


def _orientation(image):
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    # Damaged EXIF is common and does not harm the picture.
    except Exception:
        return 1


def _rgb(image):
    """Return a Pillow image of any mode as RGB."""
    image.load()
    if image.mode == "F" or (image.mode == "I" and image.format == "TIFF"):
        raise ValueError("32 bits a channel instead of 8 or 16")
    if image.mode.startswith("I"):
        # Pillow's own conversion cuts at 255.
        sixteen_bits = np.asarray(image).astype(np.uint32)
        image = Image.fromarray(((sixteen_bits + 128) // 257).astype(np.uint8))
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image.convert("RGB")


def _reason(error):
    if isinstance(error, UnidentifiedImageError):
        return f"damaged, or none of {', '.join(FORMATS)}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
