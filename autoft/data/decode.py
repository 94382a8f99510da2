"""From an encoded image to uint8 RGB pixels of one size; the same bytes always give the same pixels."""

import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Literal

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, ImageOps

DECODER_VERSION = f"1-{PIL.__version__}"
"""Part of the key of decoded pixels."""

UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    ArithmeticError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow's decoders raise on damaged files, and on those of more than twice `PIL.Image.MAX_IMAGE_PIXELS`."""

_WHITE = (255, 255, 255, 255)
_WITH_ALPHA = {"RGBA", "LA", "PA", "RGBa", "La"}


@dataclass(frozen=True, slots=True)
class Frame:
    """The square that every image is brought to.

    ``squash`` resizes both sides to ``size``; ``crop`` resizes the shorter side and keeps the middle. Both bicubic
    with antialiasing.
    """

    size: int
    resize: Literal["squash", "crop"] = "squash"


def decode(encoded: bytes, frame: Frame) -> NDArray[np.uint8]:
    """Pixels (size, size, 3) of an image file's content.

    JPEGs are decoded at a reduced scale where that is at least twice the size asked for.

    Raises:
        one of `UNREADABLE`: empty, truncated, or no image.
    """
    with Image.open(BytesIO(encoded)) as image:
        image.draft(None, (2 * frame.size, 2 * frame.size))
        image.load()
        return fit(image, frame)


def fit(image: Image.Image, frame: Frame) -> NDArray[np.uint8]:
    """Pixels (size, size, 3) of an opened image: upright by its EXIF orientation, RGB, on white."""
    rgb = upright(image)
    box = None
    if frame.resize == "crop":
        side = min(rgb.size)
        left, top = (rgb.width - side) / 2, (rgb.height - side) / 2
        box = (left, top, left + side, top + side)
    if rgb.size != (frame.size, frame.size):
        rgb = rgb.resize((frame.size, frame.size), Image.Resampling.BICUBIC, box=box)
    return np.asarray(rgb, dtype=np.uint8)


def upright(image: Image.Image) -> Image.Image:
    """8-bit RGB at its own size, turned as its EXIF orientation says."""
    return to_rgb(ImageOps.exif_transpose(image))


def to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB. Transparency is laid on white; integer modes of more than 8 bits are read as 16-bit grey; floating
    point ones as 0 to 1 if nothing exceeds 1, else as 0 to 255.
    """
    if image.mode.startswith("I"):
        return _grey(np.asarray(image, dtype=np.float64) / 257.0)
    if image.mode == "F":
        values = np.nan_to_num(np.asarray(image, dtype=np.float64))
        return _grey(values * 255.0 if values.max(initial=0.0) <= 1.0 else values)
    if image.mode in _WITH_ALPHA or "transparency" in image.info:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, _WHITE), layer).convert("RGB")
    return image.convert("RGB")


def from_array(pixels: NDArray[np.uint8]) -> Image.Image:
    """An image of uint8 pixels (H, W), (H, W, 1) or (H, W, 3)."""
    return Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels))


def _grey(values: NDArray[Any]) -> Image.Image:
    return Image.fromarray(np.rint(values.clip(0.0, 255.0)).astype(np.uint8)).convert("RGB")


class _Quiet:
    """Pillow warns about odd files from decoding threads, but filters of warnings belong to the process: the first
    thread in sets them, the last one out restores them.
    """

    lock = threading.Lock()
    inside = 0
    saved: "warnings.catch_warnings[Any] | None" = None


@contextmanager
def quietly() -> Iterator[None]:
    """Ignore Pillow's warnings (large image, odd EXIF) inside, from any number of threads."""
    with _Quiet.lock:
        if _Quiet.inside == 0:
            _Quiet.saved = warnings.catch_warnings()
            _Quiet.saved.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.")
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        _Quiet.inside += 1
    try:
        yield
    finally:
        with _Quiet.lock:
            _Quiet.inside -= 1
            if _Quiet.inside == 0 and _Quiet.saved is not None:
                _Quiet.saved.__exit__(None, None, None)
                _Quiet.saved = None
