"""Generated pages: every pixel owned, boxes that are those of pixels, the same bytes for a seed, conventions kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as rle
from pycocotools.coco import COCO
from scipy import ndimage

from densessl.data.synthetic.canvas import Dice
from densessl.data.synthetic.pages import PagesConfig, coco, documents, labels, owners, paint, write_pages
from densessl.data.synthetic.pages.degrade import askew, degrade, moved
from densessl.data.synthetic.pages.page import BLACK, COARSE, DECORATION, DOCLAYNET, PUBLAYNET, WHITE, Page, Words, box
from densessl.data.synthetic.pages.run import resolve
from densessl.data.synthetic.pages.words import LANGUAGES, Writer
from densessl.errors import UserError

DIR = {"annotations.json", "config.yaml", "doclaynet.json", "documents", "images", "tables.json"}


def drawn(kind: str, number: int = 0, size: int = 640, language: str = "pl") -> list[tuple]:
    """Each page of a document with its picture, its palette and the owners of its pixels."""
    plan = documents.Plan(kind, language, 1)
    pages = documents.pages(11, number, plan)
    palettes = [owners.Palette(page) for page in pages]
    images = paint.to_pixels(paint.to_pdf(pages, paint.own_colours), size)
    codes = paint.to_pixels(paint.to_pdf(pages, palettes[0]), size)
    return [(*each[:3], each[1].read(each[3])) for each in zip(pages, palettes, images, codes, strict=True)]


def config(folder: Path, **settings: object) -> PagesConfig:
    return PagesConfig(**{"out": str(folder), "count": 4, "size": 512, "workers": 1, "degrade": 0.0} | settings)


def files(folder: Path) -> dict[str, bytes]:
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: data for name, data in found.items() if name != "config.yaml"}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pages") / "set"
    write_pages(config(folder, count=24, degrade=0.4, seed=3))
    return folder


@pytest.mark.parametrize("kind", documents.KINDS)
def test_every_inked_pixel_has_an_owner_and_every_element_has_ink(kind):
    for number in range(2):
        for _, palette, image, whose in drawn(kind, number, language=("pl", "en")[number]):
            assert owners.strays(image, whose) == 0
            inked = (image != 255).any(axis=2)
            assert inked.mean() > 0.001 and (whose[inked] > 0).all()
            assert set(np.unique(whose)) - {owners.NOBODY, owners.DECORATED} == set(range(1, len(palette.elements) + 1))


def test_what_is_drawn_without_a_colour_of_its_own_is_found_as_a_stray():
    page = Page(200, 100)
    page.add("Text", [Words(10, 20, "owned", "Helvetica", 12)])
    forgotten = page.add("Text", [Words(10, 60, "forgotten", "Helvetica", 12)])
    image = paint.to_pixels(paint.to_pdf([page], paint.own_colours), 400)[0]
    palette = owners.Palette(page)
    code = paint.to_pixels(paint.to_pdf([replace(page, elements=page.elements[:1])], palette), 400)[0]
    stray = owners.strays(image, palette.read(code))
    alone = paint.to_pixels(paint.to_pdf([replace(page, elements=[forgotten])], paint.own_colours), 400)[0]
    assert stray == (alone != 255).any(axis=2).sum() > 50


def test_owners_are_those_of_elements_drawn_one_by_one():
    """With all others white, each element has ink exactly where the page says so, but for pixels that two share."""
    for kind in ("article", "form", "report"):
        for page, palette, _, whose in drawn(kind):
            for number, element in enumerate(palette.elements, 1):
                # All are drawn, since a font that holds other letters is hinted in another way.
                alone = paint.to_pdf([page], lambda each, own=element: BLACK if each is own else WHITE)
                ink = (paint.to_pixels(alone, 640)[0] < 255).any(axis=2)
                own = whose == number
                assert (own & ~ink).sum() == 0
                missing = whose[ink & ~own]
                assert len(missing) <= 0.01 * ink.sum() and (missing != owners.NOBODY).all()


def test_text_on_a_ground_of_colour_is_told_from_the_ground():
    page = Page(200, 100)
    page.decorate(box(0, 0, 200, 100, (0.2, 0.3, 0.5)))
    page.add("Text", [Words(20, 50, "small words", "Helvetica", 7, (1.0, 1.0, 1.0))])
    palette = owners.Palette(page)
    whose = palette.read(paint.to_pixels(paint.to_pdf([page], palette), 200)[0])
    x0, y0, x1, y1 = owners.boxes(whose, 1)[0]
    assert 18 <= x0 <= 22 and 43 <= y0 <= 46 and y1 <= 54 and 50 < x1 < 70
    assert (whose[whose != 1] == owners.DECORATED).all()


def test_boxes_are_those_of_pixels_found_slowly():
    rng = np.random.default_rng(0)
    whose = rng.choice([0, 0, 0, 1, 2, 5, owners.DECORATED], size=(40, 50)).astype(np.uint16)
    found = owners.boxes(whose, 5)
    for number in range(1, 6):
        rows, columns = np.nonzero(whose == number)
        slow = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] if len(rows) else [0] * 4
        assert found[number - 1].tolist() == slow


def test_an_outline_covers_all_ink_and_reaches_the_sides_of_its_box():
    for _, palette, _, whose in drawn("report", 4):
        for record in labels.describe(palette.elements, whose, 1.0):
            x, y, w, h = record["bbox"]
            canvas = np.zeros(whose.shape, dtype=np.uint8)
            for polygon in record["segmentation"]:
                corners = np.array(polygon, dtype=np.int32).reshape(-1, 2)
                # OpenCV fills up to and with the last pixel, whereas a corner lies after it.
                canvas |= _filled(corners, whose.shape)
            own = whose == record["number"]
            assert (canvas[own] == 1).all()
            rows, columns = np.nonzero(canvas)
            assert [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] == [x, y, x + w, y + h]
            assert record["area"] == canvas.sum()


def _filled(corners: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Pixels whose centres lie in a polygon, by counting how often a ray to the right crosses its sides."""
    inside = np.zeros(shape, dtype=np.uint8)
    centres = np.arange(shape[1]) + 0.5
    for row in range(corners[:, 1].min(), corners[:, 1].max()):
        sides = [
            a[0]
            for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True)
            if a[0] == b[0] and min(a[1], b[1]) <= row < max(a[1], b[1])
        ]
        inside[row] = (np.array(sides)[:, None] > centres).sum(axis=0) % 2
    return inside


def test_skew_moves_boxes_as_it_moves_masks():
    """Boxes of the warped page are those of each element's own mask, warped by scipy."""
    page, palette, image, whose = drawn("article", 2)[0]
    matrix = askew(image.shape[:2], Dice(4))
    _, turned = moved(image, whose, matrix)
    records = labels.describe(palette.elements, whose, 1.0, (turned, labels.Warp(matrix)))
    assert len(records) == len(palette.elements)
    back = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    # scipy asks for the map from the picture to the page, rows first.
    rows_first, offset = back[:2, :2][::-1, ::-1], back[:2, 2][::-1]
    for record in records:
        x, y, w, h = record["bbox"]
        own = (whose == record["number"]).astype(np.uint8)
        warped = ndimage.affine_transform(own, rows_first, offset, order=0)
        rows, columns = np.nonzero(warped)
        box_ = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        # Rounding of places that lie between two pixels differs between the two.
        np.testing.assert_allclose([x, y, x + w, y + h], box_, atol=1)
        for polygon in record["segmentation"]:
            points = np.array(polygon).reshape(-1, 2)
            assert (points >= [x, y]).all() and (points <= [x + w, y + h]).all()


def test_degraded_pages_keep_their_size_and_their_words():
    _, palette, image, whose = drawn("law", 1)[0]
    looks = set()
    for seed in range(12):
        picture, shown, matrix = degrade(image, whose, Dice(seed))
        again = degrade(image, whose, Dice(seed))
        assert picture.shape == image.shape and picture.dtype == np.uint8 and shown.shape == whose.shape
        np.testing.assert_array_equal(picture, again[0])
        if matrix is None:
            np.testing.assert_array_equal(shown, whose)
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(float)
        inside = ndimage.binary_dilation(shown > 0, iterations=1)
        assert grey[shown > 0].mean() < grey[~inside].mean() - 25
        looks.add(picture.tobytes())
    assert len(looks) == 12


def test_the_same_seed_gives_the_same_bytes_whatever_the_number_of_processes(tmp_path):
    write_pages(config(tmp_path / "one", count=7, degrade=0.6))
    write_pages(config(tmp_path / "two", count=7, degrade=0.6, workers=2))
    one, two = files(tmp_path / "one"), files(tmp_path / "two")
    assert one == two and len(one) > 10
    write_pages(config(tmp_path / "other", count=7, degrade=0.6, seed=1))
    assert files(tmp_path / "other")["annotations.json"] != one["annotations.json"]


def test_a_set_that_is_made_larger_is_the_larger_set(tmp_path, capsys):
    write_pages(config(tmp_path / "grown", count=2))
    first = (tmp_path / "grown" / "images" / "000000-0.jpg").stat().st_mtime_ns
    assert "2 of which were there already" in write_pages(config(tmp_path / "grown", count=6))
    assert (tmp_path / "grown" / "images" / "000000-0.jpg").stat().st_mtime_ns == first
    write_pages(config(tmp_path / "whole", count=6))
    assert files(tmp_path / "grown") == files(tmp_path / "whole")


def test_a_document_that_was_not_finished_is_made_again(tmp_path):
    folder = tmp_path / "set"
    write_pages(config(folder, count=3))
    before = files(folder)
    (folder / "documents" / "000000.json").unlink()
    (folder / "images" / "000001-0.jpg").unlink()
    write_pages(config(folder, count=3))
    assert files(folder) == before


def test_folders_of_others_and_other_settings_are_refused(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="other files"):
        write_pages(config(tmp_path / "full"))
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.txt"]
    write_pages(config(tmp_path / "set", count=2))
    before = files(tmp_path / "set")
    with pytest.raises(UserError, match="seed: 0, now 1"):
        write_pages(config(tmp_path / "set", count=2, seed=1))
    with pytest.raises(UserError, match="holds 2 pages already"):
        write_pages(config(tmp_path / "set", count=1))
    assert files(tmp_path / "set") == before


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("degrad=1", "did you mean 'degrade'"),
        ("degrade=2", "must be from 0 to 1"),
        ("kinds=[artcle]", "did you mean 'article'"),
        ("languages=[xx]", "none of en"),
        ("suffix=gif", "none of png, jpg"),
        ("masks=line", "none of outlines, ink"),
        ("size=10", "from 256 to 4096"),
        ("workers=0", "1 or more"),
    ],
)
def test_a_wrong_setting_is_a_sentence(tmp_path, override, words):
    with pytest.raises(UserError, match=words.replace("[", r"\[")):
        write_pages(resolve(tmp_path / "set", 1, 0, [override]))
    assert not (tmp_path / "set").exists()


def test_pycocotools_reads_both_files(made, capsys):
    assert {path.name for path in made.iterdir()} == DIR
    for name, classes in (("annotations", PUBLAYNET), ("doclaynet", DOCLAYNET)):
        data = COCO(str(made / f"{name}.json"))
        assert [data.cats[place]["name"] for place in sorted(data.cats)] == list(classes)
        assert len(data.imgs) == 24
        for image in data.imgs.values():
            picture = cv2.imread(str(made / "images" / image["file_name"]))
            assert picture.shape[:2] == (image["height"], image["width"])
        for annotation in data.anns.values():
            image = data.imgs[annotation["image_id"]]
            x, y, w, h = annotation["bbox"]
            assert 0 <= x < x + w <= image["width"] and 0 <= y < y + h <= image["height"]
            mask = data.annToMask(annotation)
            rows, columns = np.nonzero(mask)
            # A polygon's pixels are those that pycocotools finds, with corners rounded in its own way.
            edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            np.testing.assert_allclose(edges, [x, y, x + w, y + h], atol=2)


def test_masks_of_ink_are_the_very_pixels_and_their_boxes_exact(tmp_path):
    write_pages(config(tmp_path / "set", count=5, masks="ink", degrade=1.0, kinds=["article", "law"]))
    for name in ("annotations", "doclaynet"):
        data = COCO(str(tmp_path / "set" / f"{name}.json"))
        for annotation in data.anns.values():
            mask = data.annToMask(annotation)
            rows, columns = np.nonzero(mask)
            box_ = [columns.min(), rows.min(), columns.max() + 1 - columns.min(), rows.max() + 1 - rows.min()]
            assert box_ == annotation["bbox"] == list(map(int, rle.toBbox(annotation["segmentation"])))
            assert annotation["area"] == mask.sum()


def test_classes_follow_the_conventions_of_publaynet(made):
    """Counted from the records: headers, footers and formulas have none, items of a list are one, the rest one each."""
    found = json.loads((made / "annotations.json").read_text())
    records = [entry for path in sorted((made / "documents").glob("*.json")) for entry in json.loads(path.read_text())]
    for image, entry in zip(found["images"], records[:24], strict=True):
        own = [each for each in found["annotations"] if each["image_id"] == image["id"]]
        for place, name in enumerate(PUBLAYNET, 1):
            elements = [each for each in entry["elements"] if COARSE.get(each["kind"]) == name]
            expected = len({each["group"] for each in elements}) if name == "list" else len(elements)
            assert sum(each["category_id"] == place for each in own) == expected


def test_captions_lie_outside_their_tables_and_figures():
    for number in range(6):
        page, palette, _, whose = drawn("report", number)[0]
        for element, (x0, y0, x1, y1) in zip(palette.elements, owners.boxes(whose, len(palette.elements)), strict=True):
            if element.kind in ("Table", "Picture"):
                inside = np.unique(whose[y0:y1, x0:x1])
                numbers = [each for each in inside.tolist() if each not in (owners.NOBODY, owners.DECORATED)]
                assert [palette.elements[each - 1] for each in numbers] == [element]


@pytest.mark.parametrize("kind", documents.KINDS)
def test_elements_stand_beside_each_other_and_within_the_page(kind):
    for page, palette, image, whose in drawn(kind, 5, language="en"):
        found = owners.boxes(whose, len(palette.elements)).tolist()
        height, width = image.shape[:2]
        for place, (x0, y0, x1, y1) in enumerate(found):
            assert 0 < x0 < x1 < width and 0 < y0 < y1 < height, palette.elements[place].text
            for other in found[:place]:
                across, down = min(x1, other[2]) - max(x0, other[0]), min(y1, other[3]) - max(y0, other[1])
                # Descenders may reach beside the ascenders of the next paragraph.
                assert across <= 0 or down <= 4, (page.width, palette.elements[place].text)


def test_blanks_that_were_widened_in_one_line_are_not_so_in_the_next():
    page = Page(300, 60)
    page.add("Text", [Words(10, 20, "a b c d", "Helvetica", 12, space=20.0), Words(10, 40, "a b c d", "Helvetica", 12)])
    inked = (paint.to_pixels(paint.to_pdf([page], paint.own_colours), 300)[0] < 255).any(axis=2)
    ends = [np.flatnonzero(rows.any(axis=0))[-1] for rows in (inked[:25], inked[25:])]
    assert abs(ends[0] - ends[1] - 60) <= 1


def test_a_list_that_goes_on_in_the_next_column_is_two():
    entry = {"elements": []}
    for group, x in ((1001, 10), (1001, 10), (1002, 300)):
        y = 10 + 30 * len(entry["elements"])
        shape = [x, y, x + 50, y, x + 50, y + 20, x, y + 20]
        entry["elements"].append(
            {"kind": "List-item", "group": group, "bbox": [x, y, 50, 20], "segmentation": [shape], "area": 1000}
        )
    first, second = coco.coarse(entry)
    assert first["bbox"] == [10, 10, 50, 50] and first["area"] == 2000 and len(first["segmentation"]) == 2
    assert second["bbox"] == [300, 70, 50, 20]
    assert [each["category_id"] for each in coco.fine(entry)] == [4, 4, 4]


def test_cells_tile_their_table_and_spans_reach_over_what_they_say(made):
    tables = json.loads((made / "tables.json").read_text())["tables"]
    assert len(tables) > 5
    for table in tables:
        taken = np.zeros((len(table["rows"]), len(table["columns"])), dtype=int)
        for cell in table["cells"]:
            (top, low), (left, right) = cell["rows"], cell["columns"]
            taken[top : low + 1, left : right + 1] += 1
            first, last = np.array(table["rows"][top]), np.array(table["rows"][low])
            corners = np.array(cell["corners"])
            across = np.array(table["columns"][left])[0], np.array(table["columns"][right])[2]
            if abs(first[1] - first[3]) < 0.01:  # a page that was not turned
                np.testing.assert_allclose(corners[[0, 1, 2, 5]], [across[0], first[1], across[1], last[5]], atol=0.02)
        assert taken.max() == 1


@pytest.mark.parametrize("code", LANGUAGES)
def test_words_have_the_letters_of_their_language_and_repeat_as_words_do(code):
    words = Writer(code, Dice(1)).sentences(400)
    letters = {"pl": "ąęłżść", "de": "äöüß", "fr": "éèê", "ru": "жыщ", "el": "ωής", "en": "th"}[code]
    text = " ".join(words)
    assert all(letter in text for letter in letters)
    counts = np.sort(np.unique([word.strip(".,") for word in words], return_counts=True)[1])[::-1]
    assert counts[0] > 0.02 * len(words) and (counts == 1).sum() > 0.2 * len(counts)
    assert 3.0 < np.mean([len(word) for word in words]) < 9.0


def test_documents_of_one_kind_look_different():
    looks = {drawn("article", number)[0][2].mean(axis=(1, 2)).tobytes() for number in range(5)}
    assert len(looks) == 5


def test_all_classes_are_common():
    counts: dict[str, int] = {}
    for number in range(60):
        plan = documents.plan(1, number)
        for page in documents.pages(1, number, plan):
            for kind in {element.kind for element in page.elements}:
                counts[kind] = counts.get(kind, 0) + 1
    assert set(counts) == {*DOCLAYNET, DECORATION}
    assert all(counts[kind] >= 3 for kind in DOCLAYNET), counts
