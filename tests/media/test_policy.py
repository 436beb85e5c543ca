"""Upload policies as values."""

from __future__ import annotations

import tomllib

import pytest

from dashboard.errors import InvalidInput
from dashboard.media.kinds import BY_ENDING, TYPES, FileKind, ending_of
from dashboard.media.policy import DEFAULT, OnConflict, Scan, UploadPolicy
from dashboard.media.recipes import RECIPES, parse_recipe
from dashboard.media.sizes import format_size, parse_bytes


def test_a_policy_survives_the_way_through_its_dict() -> None:
    policy = UploadPolicy(
        max_size=20_000_000,
        kinds=(FileKind.IMAGE, FileKind.MARKUP),
        endings=(".jpg", ".svg"),
        max_pixels=1_000_000,
        scan=Scan.REQUIRED,
        organise_by_date=True,
        unique_names=True,
        thumbnails=("small", "400x300-crop"),
        on_conflict=OnConflict.RENAME,
    )
    for each in (policy, DEFAULT):
        assert UploadPolicy.from_dict(each.as_dict()) == each
        assert all(type(value) in (int, str, bool, list) for value in each.as_dict().values())


def test_a_policy_is_read_from_toml() -> None:
    text = """
    max_size = "20 MB"
    kinds = ["image", "document"]
    endings = ["JPG", ".pdf"]
    scan = "required"
    thumbnails = false
    """
    policy = UploadPolicy.from_dict(tomllib.loads(text))
    assert policy.max_size == 20_000_000
    assert policy.kinds == (FileKind.IMAGE, FileKind.DOCUMENT)
    assert (policy.endings, policy.scan, policy.thumbnails) == ((".jpg", ".pdf"), Scan.REQUIRED, ())


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"max_size": 0}, "max_size"),
        ({"max_size": "many"}, "max_size"),
        ({"max_size": True}, "max_size"),
        ({"max_pixels": 10**12}, "max_pixels"),
        ({"max_pixels": "9"}, "max_pixels"),
        ({"kinds": []}, "kinds"),
        ({"kinds": "image"}, "kinds"),
        ({"kinds": ["pictures"]}, "kinds"),
        ({"endings": [".svg"]}, "endings"),
        ({"endings": ["."]}, "endings"),
        ({"endings": [5]}, "endings"),
        ({"scan": "sometimes"}, "scan"),
        ({"scan": True}, "scan"),
        ({"on_conflict": "merge"}, "on_conflict"),
        ({"unique_names": "yes"}, "unique_names"),
        ({"thumbnails": ["9999999x1"]}, "thumbnails"),
        ({"thumbnails": ["0x1"]}, "size"),
        ({"thumbnails": [f"{n}x{n}" for n in range(1, 20)]}, "thumbnails"),
        ({"thumbnail": []}, "thumbnail"),
    ],
)
def test_what_cannot_be_used_is_named(values: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        UploadPolicy.from_dict(values)
    assert raised.value.subject == field
    assert raised.value.reason.endswith(".")


@pytest.mark.parametrize(
    ("name", "size", "status"),
    [
        ("photo.jpg", 1000, None),
        ("photo.JPG ", None, None),
        ("photo", 1000, None),
        ("photo.jpg", 10_000_000_000, 413),
        ("page.html", 1000, 415),
        ("setup.exe", None, 415),
        ("drawing.svg", None, 415),
        ("", 1, 422),
        (" .. ", 1, 422),
        ("a\nb.jpg", 1, 422),
        ("é" * 128, 1, 422),
    ],
)
def test_names_and_sizes_are_checked_before_anything_is_read(
    name: str, size: int | None, status: int | None
) -> None:
    refusal = DEFAULT.check_name(name, size)
    assert (None if refusal is None else refusal.status) == status


def test_endings_of_a_policy_bind_the_name() -> None:
    policy = UploadPolicy(endings=(".tar.gz", ".jpg"))
    assert policy.check_name("a.TAR.GZ") is None
    refusal = policy.check_name("a.gz")
    assert refusal is not None
    assert refusal.status == 415
    assert ".tar.gz" in refusal.remedy


def test_kinds_and_pixels_are_refused_with_a_sentence() -> None:
    refusal = DEFAULT.check_type("photo.jpg", TYPES["pe"])
    assert refusal is not None
    assert refusal.reason == "“photo.jpg” is a Windows program, which is not accepted here."
    refusal = UploadPolicy(max_pixels=1_000_000).check_pixels(13_000, 13_000)
    assert refusal is not None
    assert "13,000 × 13,000" in refusal.reason
    assert "1 megapixels" in refusal.reason
    assert DEFAULT.check_pixels(8000, 6000) is None


def test_the_table_of_types_is_whole() -> None:
    assert all(row.name == name and row.content_type.count("/") == 1 for name, row in TYPES.items())
    assert all(ending.startswith(".") and ending == ending.lower() for ending in BY_ENDING)
    assert {row.kind for row in TYPES.values()} == set(FileKind)


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("a.JPG", ".jpg"),
        ("a.b.c", ".c"),
        (".htaccess", ""),
        ("a", ""),
        ("x.php. . ", ".php"),
        ("folder.d/file", ""),
        ("c:\\dir.x\\file.txt", ".txt"),
    ],
)
def test_the_ending_of_a_name(name: str, ending: str) -> None:
    assert ending_of(name) == ending


def test_recipes() -> None:
    assert parse_recipe("small") is RECIPES["small"]
    assert [(r.width, r.height) for r in RECIPES.values()] == [(150, 150), (300, 300), (800, 600)]
    crop = parse_recipe("200x100-crop-webp")
    assert (crop.width, crop.height, crop.crop, crop.format) == (200, 100, True, "webp")
    assert crop.key == "200x100-crop-webp-q82-r1"
    assert len({each.key for each in (*RECIPES.values(), crop)}) == 4


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("20 MB", 20_000_000),
        ("1.5 GiB", 1_610_612_736),
        ("500000", 500_000),
        ("7k", 7000),
        (12, 12),
    ],
)
def test_sizes(text: object, size: int) -> None:
    assert parse_bytes(text, field="size") == size
    assert parse_bytes(format_size(size), field="size") == pytest.approx(size, rel=0.05)
