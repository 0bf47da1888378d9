"""What is wrong with a user's COCO file is told at once, all of it, before anything starts."""

from __future__ import annotations

import json

import numpy as np
import pytest

from densessl.documents.sets import open_pages
from densessl.errors import UserError

from .conftest import coco


def opened(tree, images, annotations, **options):
    tree.json("annotations.json", coco(images, annotations))
    return open_pages(f"coco:{tree}", **options)


@pytest.fixture
def page(tree):
    tree.image("images/a.png")
    return {"file_name": "a.png"}


def test_all_errors_come_in_one_message_with_counts_and_examples(tree, page):
    tree.image("images/small.png", 6, 8)
    tree.text("images/text.png", "no image")
    images = [page, page, {"file_name": "none.png"}, {"file_name": "small.png"}, {"file_name": "text.png"}, {"id": 99}]
    boxes = [[1, 2, float("nan"), 4], [1, 2, 3], None, ["1", 2, 3, 4], [0, 0, 1.5, 10**400]]
    annotations = [{"bbox": box} for box in boxes] + [{"image_id": 55}, {"category_id": 9}, {"category_id": None}]
    content = coco(images, annotations)
    content["categories"] += [{"id": 1, "name": "again"}, {"id": 8, "name": "table"}]
    tree.json("annotations.json", content)
    with pytest.raises(UserError) as told:
        open_pages(f"coco:{tree}")
    lines = str(told.value).splitlines()
    assert lines[0].endswith("annotations.json cannot be used, for 10 reasons:") and len(lines) == 11
    for said in (
        "Ids that several categories share: 1 (1: text and again); ",
        "Names that several categories share: 1 (table); ",
        "Images that are listed twice: 1 (a.png, id 2); ",
        "Images that are not there: 1 (",
        "Images of another size than their annotations state: 1 (small.png: 6 x 8, stated 60 x 80); ",
        "Images that cannot be read: 1 (text.png: it is not an image of a known format); ",
        "Entries that lack what COCO asks of them: 1 (entry 5 of images); ",
        "Boxes that are not four finite numbers: 5 (annotation 1 of a.png, annotation 2 of a.png, annotation 3 of ",
        "Annotations of images that are not listed: 1 (annotation 6: image 55); ",
        "Objects of a class that the set does not have: 2 (annotation 7: category 9, annotation 8: category None); ",
    ):
        assert sum(line.startswith(f"- {said}") for line in lines) == 1, said
    assert all(line.endswith(".") for line in lines[1:])


def test_one_error_is_one_sentence(tree, page):
    with pytest.raises(
        UserError, match=r"cannot be used\. Annotations of images that are not listed: 1 .*annotations\.$"
    ):
        opened(tree, [page], [{"image_id": 3}])


def test_boxes_over_the_edge_are_cut_and_those_outside_or_flat_left_out_and_all_are_counted(tree, page):
    boxes = [[-5, 70, 30, 30], [59.7, 0, 0.7, 5], [80, 5, 10, 10], [60, 5, 10, 10], [5, 5, 0, 9], [5, 5, -3, 9]]
    pages = opened(tree, [page], [{"bbox": box} for box in boxes])
    assert np.allclose(pages.objects.boxes, [[0, 70, 25, 80], [59.7, 0, 60, 5]])
    assert [note.partition("(")[0] for note in pages.notes] == [
        "Boxes without width or height: 2 ",
        "Boxes that lie outside of their page: 2 ",
        "Boxes that reach over the edge of their page: 1 ",  # that of 0.4 pixels was rounded
    ]


def test_objects_without_a_mask_among_others_with_one_get_their_box_and_are_told_of(tree, page):
    masked = {"segmentation": [[1, 1, 9, 1, 9, 9]]}
    pages = opened(tree, [page], [masked, {"segmentation": []}, {"bbox": [2, 3, 4, 5]}], masks=True)
    assert pages.objects.shapes[2][0].tolist() == [[2, 3], [6, 3], [6, 8], [2, 8]]
    assert [note.partition(" (")[0] for note in pages.notes] == ["Objects without a mask: 2"]
    boxes_only = opened(tree, [page], [{}, {}], masks=True)
    assert boxes_only.notes == () and len(boxes_only.objects.shapes) == 2


@pytest.mark.parametrize(
    "mask",
    [
        [[1, 1, 5, 5]],
        [[1, 1, 9, 1, 9]],
        [["a", 1, 9, 1, 9, 9]],
        {"size": [60, 80], "counts": "04"},
        {"size": [80, 60], "counts": "04"},
        {"size": [80, 60], "counts": "garbage!!"},
        {"size": 5, "counts": "04"},
        {"size": [80, 60], "counts": [10, 10]},
        {"counts": "04"},
        "mask",
    ],
)
def test_masks_that_cannot_be_used_are_errors(tree, page, mask):
    with pytest.raises(UserError, match=r"Masks that cannot be read.*: 1 \(annotation 1 of a.png\)"):
        opened(tree, [page], [{"segmentation": mask}], masks=True)


def test_masks_far_outside_are_cut_near_their_page_and_those_beside_it_give_way_to_the_box(tree, page):
    far, beside = [[0, 0, 3e7, 0, 0, 3e7]], [[70, 0, 90, 0, 90, 9]]
    pages = opened(tree, [page], [{"segmentation": far}, {"segmentation": beside}], masks=True)
    cut, box = pages.objects.shapes
    assert cut[0].max() < 2000 and box[0].tolist() == [[5, 5], [15, 5], [15, 25], [5, 25]]
    assert pages.notes == (
        "Masks that lie outside of their page: 1 (annotation 2 of a.png); their object's box stands in for them.",
    )


def test_run_lengths_are_read_compressed_or_not(tree, page):
    from pycocotools import mask

    pixels = np.zeros((80, 60), np.uint8)
    pixels[10:30, 5:25] = 1
    compressed = mask.encode(np.asfortranarray(pixels))
    flat = pixels.T.reshape(-1)
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(edges, prepend=0, append=flat.size).tolist()
    given = [
        {"segmentation": {"size": [80, 60], "counts": compressed["counts"].decode()}},
        {"segmentation": {"size": [80, 60], "counts": counts}},
    ]
    pages = opened(tree, [page], given, masks=True)
    assert all(np.array_equal(mask.decode(shape), pixels) for shape in pages.objects.shapes)


def test_partial_leaves_out_pages_whose_images_are_not_there_with_their_objects(tree, page):
    images = [{"file_name": "none.png"}, page]
    pages = opened(tree, images, [{"image_id": 1, "bbox": [float("nan")] * 4}, {"image_id": 2}], partial=True)
    assert len(pages) == 1 and pages.objects.page.tolist() == [0] and pages.source.name(0) == "a.png"
    assert "none.png); their pages are left out." in pages.notes[0]
    with pytest.raises(UserError, match="Images that are not there"):
        opened(tree, [{"file_name": "none.png"}], [], partial=True)


def test_without_headers_what_the_file_states_is_believed(tree, page):
    assert len(opened(tree, [{**page, "width": 61}], [], headers=False)) == 1
    with pytest.raises(UserError, match="another size"):
        opened(tree, [{**page, "width": 61}], [])


@pytest.mark.parametrize("content", ["", "[]", "{", '{"images": [], "annotations": []}', '{"images": 3}', "[" * 100000])
def test_what_is_no_coco_file_is_a_sentence(tree, content):
    tree.text("annotations.json", content)
    with pytest.raises(UserError, match="annotations.json (cannot be read as JSON|is no COCO file)"):
        open_pages(f"coco:{tree}")


def test_a_file_that_lists_no_images_or_no_categories_is_a_sentence(tree, page):
    tree.json("annotations.json", coco([], []))
    with pytest.raises(UserError, match="lists no images"):
        open_pages(f"coco:{tree}")
    tree.json("annotations.json", coco([page], [], names=()))
    with pytest.raises(UserError, match="lists no categories"):
        open_pages(f"coco:{tree}")


def test_json_of_any_shape_is_told_of_and_never_a_traceback(tree, page):
    whole = coco([page], [{"segmentation": [[1, 1, 9, 1, 9, 9]]}])
    odd = [None, 1, "x", [], {}, [[]], -1, True, 1e400, 10**400, 2**40, {"size": 5, "counts": 5}, [[10**400] * 6]]
    for table in ("images", "annotations", "categories"):
        for key in [None, *whole[table][0]]:
            for value in odd:
                content = json.loads(json.dumps(whole))
                if key is None:
                    content[table][0] = value
                else:
                    content[table][0][key] = value
                tree.json("annotations.json", content)
                try:
                    open_pages(f"coco:{tree}", masks=True)
                except UserError as error:
                    assert str(error).endswith(".")


def test_broken_xml_and_missing_files_are_told_of_together(tree):
    for name in ("cTDaR_t10000", "cTDaR_t10001", "cTDaR_t10002"):
        tree.image(f"images/{name}.jpg")
    tree.text("annotations/cTDaR_t10000.xml", "<document><table>")
    tree.text("annotations/cTDaR_t10001.xml", "<document><table><Coords points='1,1 2'/></table></document>")
    with pytest.raises(UserError) as told:
        open_pages(f"ctdar:{tree}")
    text = str(told.value)
    assert "Annotation files that cannot be read: 1 (" in text and "Pages without an annotation file: 1 (" in text
    assert "Boxes that are not four finite numbers: 1 (table 0 of cTDaR_t10001.jpg)" in text


def test_sizes_of_pages_that_none_has_are_told_of(tree, page):
    with pytest.raises(UserError, match="lack what COCO asks of them: 2 .entry 0 of images, entry 1 of images"):
        opened(tree, [{**page, "width": 2**40}, {"file_name": "b.png", "height": 10**400}], [], headers=False)
    for place, width in enumerate(("inf", "1e30", "3e9")):
        tree.image(f"JPEGImages/{place}.jpg")
        size = f"<size><width>{width}</width><height>80</height></size>"
        tree.text(f"Annotations/{place}.xml", f"<annotation>{size}</annotation>")
    with pytest.raises(UserError, match="of a size that none has: 3 .0.jpg: inf x 80, 1.jpg: 1e.30 x 80, 2.jpg: 3e.09"):
        open_pages(f"voc:{tree}")


@pytest.mark.parametrize("box", ["[1, 2, 3, 1" + "0" * 400 + "]", "[" * 5000 + "]" * 5000, '["1", "2", "3", "4"]', "5"])
def test_forms_of_any_shape_are_told_of_and_never_a_traceback(tree, box):
    tree.image("training_data/images/a.png")
    word = f'{{"form": [{{"id": 1, "words": [{{"text": "a", "box": {box}}}]}}]}}'
    tree.text("training_data/annotations/a.json", word)
    with pytest.raises(UserError, match="(Boxes that are not four finite numbers|Annotation files.*be read): 1 .*a"):
        open_pages(f"funsd:{tree}")
