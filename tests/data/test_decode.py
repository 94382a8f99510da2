"""Every kind of image becomes the same kind of pixels."""

import io
import threading
import warnings

import numpy as np
import pytest
from PIL import Image

from autoft.data.decode import UNREADABLE, Frame, decode, fit, from_array, quietly

FRAME = Frame(16)


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def photo(size=(24, 16)):
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def plain(mode, colour, size=(20, 10)):
    return Image.new(mode, size, colour)


def sixteen_bit(value):
    return Image.fromarray(np.full((10, 20), value, dtype=np.uint16))


def palette(transparent):
    image = Image.new("P", (20, 10), 1)
    image.putpalette([0, 0, 0, 10, 20, 30] + [0] * 762)
    return encoded(image, transparency=1) if transparent else encoded(image)


PLAIN = {
    "rgb": (encoded(plain("RGB", (10, 20, 30))), (10, 20, 30)),
    "grey": (encoded(plain("L", 7)), (7, 7, 7)),
    "black and white": (encoded(plain("1", 1)), (255, 255, 255)),
    "opaque alpha": (encoded(plain("RGBA", (10, 20, 30, 255))), (10, 20, 30)),
    "clear alpha is white": (encoded(plain("RGBA", (10, 20, 30, 0))), (255, 255, 255)),
    "half alpha over white": (encoded(plain("RGBA", (0, 0, 0, 128))), (127, 127, 127)),
    "grey with alpha": (encoded(plain("LA", (50, 0))), (255, 255, 255)),
    "palette": (palette(transparent=False), (10, 20, 30)),
    "clear palette is white": (palette(transparent=True), (255, 255, 255)),
    "16-bit white": (encoded(sixteen_bit(65535)), (255, 255, 255)),
    "16-bit grey": (encoded(sixteen_bit(257 * 100)), (100, 100, 100)),
    "16-bit tiff": (encoded(sixteen_bit(257 * 9), "TIFF"), (9, 9, 9)),
    "32-bit tiff": (encoded(Image.new("I", (20, 10), 257 * 8), "TIFF"), (8, 8, 8)),
    "float tiff of 0 to 1": (encoded(plain("F", 0.2), "TIFF"), (51, 51, 51)),
    "float tiff of 0 to 255": (encoded(plain("F", 77.0), "TIFF"), (77, 77, 77)),
    "gif": (encoded(plain("P", 0).convert("RGB"), "GIF"), (0, 0, 0)),
    "bmp": (encoded(plain("RGB", (10, 20, 30)), "BMP"), (10, 20, 30)),
    "lossless webp": (encoded(plain("RGB", (10, 20, 30)), "WEBP", lossless=True), (10, 20, 30)),
    "cmyk jpeg": (encoded(plain("CMYK", (0, 0, 0, 0)), "JPEG"), (255, 255, 255)),
}


@pytest.mark.parametrize("resize", ["squash", "crop"])
@pytest.mark.parametrize(("content", "colour"), PLAIN.values(), ids=PLAIN.keys())
def test_every_kind_becomes_8_bit_rgb_on_white(content, colour, resize):
    pixels = decode(content, Frame(16, resize))
    assert pixels.shape == (16, 16, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - np.array(colour)).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_an_image_stands_upright_whatever_its_exif_orientation(orientation, kind):
    # top left quarter is red when upright
    upright = Image.new("RGB", (32, 32), "black")
    upright.paste((255, 0, 0), (0, 0, 16, 16))
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = decode(encoded(stored, kind, exif=exif), FRAME)
    assert pixels[2, 2, 0] > 200
    assert pixels[13, 13, 0] < 50
    assert pixels[2, 13, 0] < 50


def test_squash_shows_all_of_the_image_and_crop_its_middle():
    wide = Image.new("RGB", (64, 32), "black")
    wide.paste((255, 255, 255), (0, 0, 16, 32))
    assert decode(encoded(wide), Frame(16))[8, 0, 0] > 200
    assert decode(encoded(wide), Frame(16, "crop")).max() < 30


def test_an_image_of_the_right_size_is_kept_as_it_is():
    image = photo((16, 16))
    assert np.array_equal(decode(encoded(image), FRAME), np.asarray(image))


def test_shrinking_is_antialiased():
    stripes = np.zeros((64, 64, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    pixels = decode(encoded(Image.fromarray(stripes)), FRAME)
    assert pixels.min() > 100
    assert pixels.max() < 155


def test_a_large_jpeg_decoded_at_a_reduced_scale_looks_like_the_whole_one():
    smooth = np.linspace(0, 255, 512 * 512 * 3).reshape(512, 512, 3).astype(np.uint8)
    content = encoded(Image.fromarray(smooth), "JPEG", quality=95)
    whole = Image.open(io.BytesIO(content)).convert("RGB").resize((16, 16), Image.Resampling.BICUBIC)
    assert np.abs(decode(content, FRAME).astype(int) - np.asarray(whole).astype(int)).max() <= 3


DAMAGED = {
    "empty": b"",
    "text": b"not an image at all",
    "half a jpeg": (whole := encoded(photo((200, 200)), "JPEG"))[: len(whole) // 2],
    "half a png": (whole := encoded(photo((200, 200))))[: len(whole) // 2],
    "a png with a broken header": encoded(photo())[:20] + b"\xff" * 40,
    "a tiff without its data": encoded(photo(), "TIFF")[:40],
    "half a gif": encoded(photo((100, 100)), "GIF")[:900],
    "half a webp": encoded(photo((100, 100)), "WEBP")[:300],
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_image_raises_what_counts_as_unreadable(content):
    with quietly(), pytest.raises(UNREADABLE):
        decode(content, FRAME)


def test_a_decompression_bomb_counts_as_unreadable_and_half_a_bomb_is_quiet(monkeypatch):
    content = encoded(photo((100, 100)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4000)
    with pytest.raises(UNREADABLE):
        decode(content, FRAME)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 6000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with quietly():
            assert decode(content, FRAME).shape == (16, 16, 3)
        with pytest.raises(Image.DecompressionBombWarning):
            decode(content, FRAME)


def test_warning_filters_are_as_before_when_many_threads_were_quiet():
    before = list(warnings.filters)
    barrier = threading.Barrier(4)

    def work():
        for _ in range(50):
            barrier.wait()
            with quietly():
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3)])
def test_arrays_are_images_too(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    image = from_array(pixels)
    assert image.size == (7, 5)
    assert fit(image, FRAME).shape == (16, 16, 3)
