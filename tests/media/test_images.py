"""What is made of images: upright, in sRGB, without metadata, in every odd form that programs write.

Decoding runs in this process here, because it is the same code; ``test_pipeline.py`` runs it in the sandbox.
"""

from __future__ import annotations

import pytest
from PIL import Image, ImageChops

from dashboard.media.decoding import images
from dashboard.media.decoding.frames import TaskError
from dashboard.media.recipes import ImageFormat, Recipe
from tests.media import samples
from tests.media.samples import SECRET, corners, encoded, opened, order

SMALL = Recipe("small", 30, 30)
QUARTERS = {"red": (0.25, 0.25), "green": (0.75, 0.25), "blue": (0.25, 0.75), "white": (0.75, 0.75)}


@pytest.fixture(autouse=True, scope="module")
def _decoders() -> None:
    images.load_decoders()


def made(data: bytes, kind: str, recipe: Recipe = SMALL) -> Image.Image:
    """What the recipe makes of the file."""
    _, [result] = images.examine(order(kind, recipes=[recipe.as_dict()]), data)
    return opened(result)


def seen(image: Image.Image) -> list[str]:
    """The colours of the quarters, in the order of ``QUARTERS``."""
    rgb = image.convert("RGB")
    found = []
    for across, down in QUARTERS.values():
        pixel = rgb.getpixel((int(across * rgb.width), int(down * rgb.height)))
        assert isinstance(pixel, tuple)
        strong = tuple(value > 127 for value in pixel)
        names = {(True, False, False): "red", (False, True, False): "green", (False, False, True): "blue"}
        found.append(names.get(strong, "white" if all(strong) else "dark"))
    return found


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "JPEG2000", "ICO"])
def test_every_format_is_decoded(form: str) -> None:
    data = encoded(corners((64, 64)), form)
    facts, results = images.examine(order(form.lower()), data)
    assert (facts["width"], facts["height"], facts["frames"]) == (64, 64, 1)
    assert [seen(opened(each)) for each in results] == [list(QUARTERS)] * 3


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_upright(form: str, orientation: int) -> None:
    stored = corners()
    turns = {
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }
    for turn in turns.get(orientation, []):
        stored = stored.transpose(turn)
    data = encoded(stored, form, exif=samples.camera(orientation))
    facts, results = images.examine(order(form.lower()), data)
    assert (facts["width"], facts["height"]) == (60, 40)
    assert all(seen(opened(each)) == list(QUARTERS) and opened(each).size == (60, 40) for each in results)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF", "GIF", "TIFF"])
@pytest.mark.parametrize("target", list(ImageFormat))
def test_nothing_of_the_metadata_is_passed_on(form: str, target: ImageFormat) -> None:
    data = samples.tagged(form) if form != "GIF" else encoded(corners(), form, comment=SECRET)
    recipe = Recipe("all", 60, 40, format=target)
    _, [result] = images.examine(order(form.lower(), recipes=[recipe.as_dict()]), data)
    image = opened(result)
    assert image.format == target.value.upper()
    assert SECRET.encode() not in result
    assert not image.getexif()
    assert not {"icc_profile", "comment", "xmp", "XML:com.adobe.xmp", "exif"} & image.info.keys()
    assert seen(image) == list(QUARTERS)


def test_what_a_camera_wrote_is_read_and_the_place_only_if_asked_for() -> None:
    data = samples.tagged("JPEG")
    facts, _ = images.examine(order("jpeg"), data)
    assert facts["taken_at"] == 1795257000.0  # 10:30 UTC
    assert facts["details"] == {"make": "Acme", "model": "Phone 7", "description": SECRET, "iso": 200.0}
    assert "gps" not in facts
    facts, _ = images.examine(order("jpeg", gps=True), data)
    assert facts["gps"] == {"latitude": -33.86, "longitude": 151.21}


def test_cmyk_becomes_rgb() -> None:
    image = made(encoded(corners(mode="CMYK"), "JPEG"), "jpeg")
    assert (image.mode, seen(image)) == ("RGB", list(QUARTERS))
    image = made(encoded(corners(mode="CMYK"), "TIFF"), "tiff", Recipe("png", 30, 30, format=ImageFormat.PNG))
    assert (image.mode, seen(image)) == ("RGB", list(QUARTERS))


def test_colours_are_converted_to_srgb() -> None:
    for form in ("JPEG", "PNG", "WEBP"):
        data = encoded(corners(), form, icc_profile=samples.profile(swapped=True), quality=95)
        assert seen(made(data, form.lower())) == ["blue", "green", "red", "white"]
        broken = encoded(corners(), form, icc_profile=b"no profile")
        assert seen(made(broken, form.lower())) == list(QUARTERS)


def test_sixteen_bits_are_not_clipped() -> None:
    image = made(samples.sixteen_bit_grey(), "png")
    across = [image.convert("L").getpixel((x, 5)) for x in (0, 7, 15, 22, 29)]
    assert across == pytest.approx([0, 64, 128, 190, 255], abs=8)
    row = b"".join(bytes((high, 0)) for _ in range(30) for high in (200, 100, 50))
    assert made(samples.png((30, 20), 16, 2, row), "png").getpixel((5, 5)) == (200, 100, 50)
    deep = Image.new("I", (40, 40), 40_000)
    deep.paste(0, (0, 0, 20, 40))
    image = made(encoded(deep, "TIFF"), "tiff", Recipe("x", 40, 40, format=ImageFormat.PNG))
    assert [image.getpixel((x, 5)) for x in (5, 35)] == [0, 255]
    image = made(encoded(deep.convert("F"), "TIFF"), "tiff", Recipe("x", 40, 40, format=ImageFormat.PNG))
    assert [image.getpixel((x, 5)) for x in (5, 35)] == [0, 255]


def test_transparency_stays_or_becomes_white() -> None:
    image = Image.new("RGBA", (60, 40), (0, 0, 0, 0))
    for data, kind in (
        (encoded(image, "PNG"), "png"),
        (encoded(image.quantize(), "PNG", transparency=0), "png"),
        (encoded(Image.new("L", (60, 40)), "PNG", transparency=0), "png"),
        (encoded(image.convert("LA"), "PNG"), "png"),
        (encoded(image, "WEBP", lossless=True), "webp"),
    ):
        kept = made(data, kind)
        assert kept.convert("RGBA").getpixel((5, 5)) == pytest.approx((0, 0, 0, 0), abs=0), kind
        white = made(data, kind, Recipe("x", 30, 30, format=ImageFormat.JPEG))
        assert white.getpixel((5, 5)) == (255, 255, 255)
    gif = encoded(Image.new("P", (60, 40), 0), "GIF", transparency=0)
    assert made(gif, "gif").format == "PNG"


def test_an_animated_image_has_a_still_of_its_first_picture() -> None:
    for form in ("GIF", "WEBP", "PNG", "AVIF"):
        facts, results = images.examine(order(form.lower()), samples.animated(form))
        assert facts["frames"] == 2
        assert seen(opened(results[0])) == list(QUARTERS)
        assert getattr(opened(results[0]), "n_frames", 1) == 1


def test_fit_and_crop_never_enlarge() -> None:
    data = encoded(corners((300, 200)), "PNG")
    sizes = {
        Recipe("a", 150, 150): (150, 100),
        Recipe("b", 150, 150, crop=True): (150, 150),
        Recipe("c", 1000, 1000): (300, 200),
        Recipe("d", 1000, 1000, crop=True): (200, 200),
        Recipe("e", 1000, 100, crop=True): (300, 30),
        Recipe("f", 1, 1): (1, 1),
    }
    for recipe, size in sizes.items():
        assert made(data, "png", recipe).size == size, recipe
    thin = encoded(Image.new("RGB", (3000, 1)), "PNG")
    assert made(thin, "png", Recipe("a", 100, 100)).size == (100, 1)


def test_a_crop_keeps_the_middle() -> None:
    image = Image.new("RGB", (300, 100), "red")
    image.paste("blue", (100, 0, 200, 100))
    found = made(encoded(image, "PNG"), "png", Recipe("x", 50, 50, crop=True))
    assert found.size == (50, 50)
    difference = ImageChops.difference(found.crop((2, 2, 48, 48)), Image.new("RGB", (46, 46), "blue"))
    assert max(high for _, high in difference.getextrema()) < 3  # type: ignore[misc]


def test_a_large_jpeg_is_decoded_small_but_to_its_end() -> None:
    data = encoded(corners((2400, 1600)), "JPEG")
    facts, results = images.examine(order("jpeg"), data)
    assert (facts["width"], facts["height"]) == (2400, 1600)
    assert [opened(each).size for each in results] == [(150, 100), (300, 200), (800, 533)]
    turned = encoded(corners((1600, 2400)), "JPEG", exif=samples.camera(6))
    facts, results = images.examine(order("jpeg"), turned)
    assert (facts["width"], facts["height"]) == (2400, 1600)
    assert opened(results[2]).size == (800, 533)
    with pytest.raises(OSError, match="truncated"):
        images.examine(order("jpeg"), data[: len(data) * 2 // 3])


def test_pixels_are_counted_before_anything_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(TaskError) as raised:
        images.examine(order("png"), samples.bomb())
    assert (raised.value.kind, raised.value.details) == ("pixels", {"width": 13_000, "height": 13_000})


def test_only_the_sniffed_format_is_tried() -> None:
    with pytest.raises(Image.UnidentifiedImageError):
        images.examine(order("jpeg"), encoded(corners(), "PNG"))
    with pytest.raises(TaskError):
        images.examine(order("postscript"), b"%!PS-Adobe-3.0 EPSF-3.0")


def settings(**more: object) -> dict[str, object]:
    return {
        "type": "png", "max_pixels": 10**8, "max_width": None, "max_height": None, "format": None,
        "quality": 80, "mark_type": "png", "position": ("bottom", "right"), "opacity": 1.0, "scale": 0.25,
        "margin": 0.0, **more,
    }  # fmt: skip


def test_optimising_resizes_converts_and_strips() -> None:
    facts, [result] = images.edit(settings(type="jpeg", max_width=30), [samples.tagged("JPEG")])
    assert facts == {"format": "jpeg", "width": 30, "height": 20}
    assert SECRET.encode() not in result
    facts, [result] = images.edit(settings(format="webp"), [encoded(corners(), "PNG")])
    assert (opened(result).format, opened(result).size) == ("WEBP", (60, 40))
    with pytest.raises(TaskError) as raised:
        images.edit(settings(type="gif"), [samples.animated()])
    assert raised.value.kind == "animated"


@pytest.mark.parametrize(
    ("position", "at"),
    [
        (("bottom", "right"), (90, 90)),
        (("top", "left"), (10, 10)),
        (("center", "center"), (50, 50)),
        (("top", "right"), (90, 10)),
    ],
)
def test_a_watermark_lies_where_it_should(position: tuple[str, str], at: tuple[int, int]) -> None:
    white, mark = (
        encoded(Image.new("RGB", (100, 100), "white"), "PNG"),
        Image.new("RGBA", (400, 400), "black"),
    )
    _, [result] = images.edit(settings(position=position, opacity=0.5), [white, encoded(mark, "PNG")])
    image = opened(result)
    assert image.getpixel(at) == pytest.approx((127, 127, 127), abs=2)
    dark = sum(1 for pixel in image.convert("L").tobytes() if pixel < 200)
    assert dark == 25 * 25
