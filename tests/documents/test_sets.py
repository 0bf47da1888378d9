"""Each set of pages in its publisher's layout: which pages it has, and what is marked on them."""

from __future__ import annotations

import numpy as np
import pytest

from densessl.documents.sets import open_kinds, open_pages, read_tables
from densessl.errors import UserError

from .conftest import coco

PUBLAYNET = ("text", "title", "list", "table", "figure")
# fmt: off
DOCLAYNET = (
    "Caption", "Footnote", "Formula", "List-item", "Page-footer", "Page-header", "Picture", "Section-header", "Table",
    "Text", "Title",
)
# fmt: on


def voc(objects: str, width: int = 60, height: int = 80) -> str:
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation><filename>wrong.jpg</filename>{size}{objects}</annotation>"


def voc_object(name: str, *box: float, more: str = "") -> str:
    edges = "".join(
        f"<{edge}>{value}</{edge}>" for edge, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    return f"<object><name>{name}</name>{more}<bndbox>{edges}</bndbox></object>"


def test_publaynet_has_boxes_polygons_and_the_article_of_each_page(tree):
    polygon = [[10, 20, 30, 20, 30, 50, 10, 50]]
    content = coco(
        [{"file_name": "PMC3576793_00004.jpg", "id": 7}, {"file_name": "PMC3576793_00009.jpg", "id": 9}],
        [{"image_id": 9, "category_id": 4, "bbox": [10, 20, 20, 30], "segmentation": polygon}],
        PUBLAYNET,
    )
    tree.json("publaynet/val.json", content)
    tree.json("publaynet/train.json", content)
    for name in ("PMC3576793_00004.jpg", "PMC3576793_00009.jpg"):
        tree.image(f"publaynet/val/{name}")
    pages = open_pages(f"publaynet:{tree}", "val", masks=True)
    assert pages.classes == PUBLAYNET
    assert [pages.source.name(index) for index in range(2)] == ["PMC3576793_00004.jpg", "PMC3576793_00009.jpg"]
    assert pages.documents == ("PMC3576793", "PMC3576793")
    assert len(pages.on(0)) == 0
    assert pages.on(1).boxes.tolist() == [[10, 20, 30, 50]] and pages.on(1).classes.tolist() == [3]
    assert pages.on(1).shapes[0][0].tolist() == [[10, 20], [30, 20], [30, 50], [10, 50]]
    assert pages.read(0).shape == (80, 60, 3) and pages.sizes.tolist() == [[60, 80]] * 2
    assert pages.labelled.all() and pages.notes == ()


def test_without_masks_asked_for_no_shapes_are_kept(tree):
    tree.json("a.json", coco([{"file_name": "a.png"}], [{"segmentation": [[0, 0, 9, 0, 9, 9]]}]))
    tree.image("a.png")
    assert open_pages(f"{tree}/a.json").objects.shapes is None


def test_doclaynet_has_eleven_classes_and_the_document_of_each_page(tree):
    tree.json(
        "COCO/train.json",
        coco([{"file_name": "0a.png", "doc_name": "report.pdf", "page_no": 3}], [{"category_id": 11}], DOCLAYNET),
    )
    tree.image("PNG/0a.png")
    pages = open_pages(f"doclaynet:{tree}")
    assert pages.classes == DOCLAYNET and pages.documents == ("report.pdf",)
    assert pages.on(0).classes.tolist() == [10]


def test_a_published_set_with_other_classes_is_refused(tree):
    tree.json("COCO/train.json", coco([{"file_name": "0a.png"}], []))
    tree.image("PNG/0a.png")
    with pytest.raises(UserError, match="has the classes text, table, and doclaynet is published with Caption"):
        open_pages(f"doclaynet:{tree}")


def test_classes_of_a_coco_file_follow_the_ids_of_its_categories(tree):
    content = coco([{"file_name": "a.png"}], [{"category_id": 30}, {"category_id": 2, "iscrowd": 1, "ignore": 1}])
    content["categories"] = [{"id": 30, "name": "late"}, {"id": 2, "name": "early"}]
    tree.json("annotations.json", content)
    tree.image("images/a.png")
    pages = open_pages(f"coco:{tree}")
    assert pages.classes == ("early", "late")
    assert pages.objects.classes.tolist() == [1, 0]
    assert pages.objects.crowd.tolist() == [False, True] and pages.objects.ignored.tolist() == [False, True]


@pytest.mark.parametrize("place", ["images/a.png", "a.png", "val/a.png", "images/val/a.png"])
def test_images_are_found_in_the_usual_places_beside_a_coco_file(tree, place):
    tree.json("val.json", coco([{"file_name": "a.png"}], [{}]))
    tree.image(place)
    assert open_pages(f"{tree}/val.json").read(0).shape == (80, 60, 3)
    assert len(open_pages(f"coco:{tree}", "val")) == 1


def test_names_that_lead_out_of_the_folder_are_read_and_named_below_one_that_holds_all(tree):
    for place, name in enumerate(("x/a.png", "y/b.png", "boxes/images/c.png")):
        tree.image(name, shade=50 * place)
    names = ["../../x/a.png", str(tree.path("y/b.png").resolve()), "c.png"]
    tree.json("boxes/mine.json", coco([{"file_name": name} for name in names], []))
    pages = open_pages(f"{tree}/boxes/mine.json")
    assert [pages.source.name(index) for index in range(3)] == ["x/a.png", "y/b.png", "boxes/images/c.png"]
    assert [int(pages.read(index)[0, 0, 0]) for index in range(3)] == [0, 50, 100]


CTDAR = """<?xml version='1.0' encoding='UTF-8'?>
<document filename="{name}">
  <table>
    <Coords points="5,6 5,70 50,75 50,6"/>
    <cell id="0" neighbors="1:R 2:B"><Coords points="6,7 6,9 20,9 20,7"/></cell>
    <cell start-row="1" end-row="2" start-col="0" end-col="0"><Coords points="6,10 6,12 20,12 20,10"/></cell>
  </table>
  <table><Coords points="1,1 1,4 9,4 9,1"/></table>
</document>"""


def test_ctdar_has_tables_as_polygons_and_tells_modern_from_archival(tree):
    for name in ("cTDaR_t00000.jpg", "cTDaR_t10000.jpg"):
        tree.image(f"training/TRACKA/ground_truth/{name}")
        tree.text(f"training/TRACKA/ground_truth/{name[:-4]}.xml", CTDAR.format(name=name))
    tree.image("test/TRACKA/cTDaR_t10005.jpg")
    tree.text("test_ground_truth/TRACKA/cTDaR_t10005.xml", CTDAR.format(name="cTDaR_t10005.jpg"))
    modern = open_pages(f"ctdar-modern:{tree}")
    assert [modern.source.name(0), len(modern)] == ["cTDaR_t10000.jpg", 1]
    assert open_pages(f"ctdar-archival:{tree}").source.name(0) == "cTDaR_t00000.jpg"
    assert len(open_pages(f"ctdar:{tree}")) == 2
    assert open_pages(f"ctdar-modern:{tree}", "test").source.name(0) == "cTDaR_t10005.jpg"
    assert modern.on(0).boxes.tolist() == [[5, 6, 50, 75], [1, 1, 9, 4]]
    assert modern.on(0).shapes[0][0].tolist() == [[5, 6], [5, 70], [50, 75], [50, 6]]


def test_ctdars_cells_come_with_their_neighbours_or_their_rows_and_columns(tree):
    tree.text("a.xml", CTDAR.format(name="a.jpg"))
    first, second = read_tables(tree.path("a.xml"))[0].cells
    assert first.neighbours == {"1": "R", "2": "B"} and first.place is None
    assert second.place == (1, 2, 0, 0) and second.polygon.tolist() == [[6, 10], [6, 12], [20, 12], [20, 10]]


def test_on_pages_of_ctdar_classes_other_than_the_table_are_unknown_and_not_absent(tree):
    tree.image("images/cTDaR_t10000.jpg")
    tree.text("annotations/cTDaR_t10000.xml", CTDAR.format(name="cTDaR_t10000.jpg"))
    pages = open_pages(f"ctdar-modern:{tree}").in_classes(DOCLAYNET)
    assert pages.labelled[0].tolist() == [name == "Table" for name in DOCLAYNET]
    assert {DOCLAYNET[kind] for kind in pages.objects.classes} == {"Table"}


@pytest.mark.parametrize(
    ("name", "folder", "classes"),
    [("pubtables", "PubTables-1M-Detection", 2), ("pubtables-structure", "PubTables-1M-Structure", 6)],
)
def test_pubtables_has_the_images_that_its_split_has_files_for(tree, name, folder, classes):
    tree.image(f"{folder}/images/PMC1064074_0.jpg")
    tree.image(f"{folder}/images/PMC1064080_0.jpg")
    tree.text(f"{folder}/val/PMC1064074_0.xml", voc(voc_object("table", 1.5, 2.25, 30, 40)))
    pages = open_pages(f"{name}:{tree}", "val")
    assert [pages.source.name(0), len(pages), len(pages.classes)] == ["PMC1064074_0.jpg", 1, classes]
    assert pages.documents == ("PMC1064074",)
    assert pages.on(0).boxes.tolist() == [[1.5, 2.25, 30, 40]]  # not counted from 1, as VOC's


@pytest.mark.parametrize(("name", "year"), [("voc07", 2007), ("voc12", 2012)])
def test_vocs_pixels_count_from_one_and_difficult_objects_are_ignored(tree, name, year):
    base = f"VOCdevkit/VOC{year}"
    tree.image(f"{base}/JPEGImages/000005.jpg")
    tree.image(f"{base}/JPEGImages/000007.jpg")
    hard = "<difficult>1</difficult>"
    parts = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
    objects = voc_object("person", 1, 1, 60, 80, more=parts) + voc_object("cat", 11, 21, 20, 30, more=hard)
    tree.text(f"{base}/Annotations/000005.xml", voc(objects))
    tree.text(f"{base}/ImageSets/Main/train.txt", "000005\n")
    pages = open_pages(f"{name}:{tree}")
    assert len(pages) == 1 and len(pages.classes) == 20
    assert pages.on(0).boxes.tolist() == [[0, 0, 60, 80], [10, 20, 20, 30]]
    assert [pages.classes[kind] for kind in pages.on(0).classes] == ["person", "cat"]
    assert pages.on(0).ignored.tolist() == [False, True]


def test_a_folder_of_ones_own_in_vocs_layout_has_the_classes_that_come_up(tree):
    for name in "ab":
        tree.image(f"JPEGImages/{name}.png")
        tree.text(f"Annotations/{name}.xml", voc(voc_object("stamp" if name == "a" else "logo", 1, 1, 10, 10)))
    pages = open_pages(f"voc:{tree}")
    assert pages.classes == ("logo", "stamp") and pages.objects.classes.tolist() == [1, 0]


def test_funsd_has_words_or_entities(tree):
    form = [
        {
            "id": 0,
            "box": [5, 5, 50, 30],
            "label": "question",
            "text": "Date sent:",
            "words": [{"box": [5, 5, 20, 15], "text": "Date"}, {"box": [22, 5, 50, 15], "text": "sent:"}],
            "linking": [],
        },
        {"id": 1, "box": [5, 40, 9, 50], "label": "other", "text": "", "words": [{"box": [5, 40, 9, 50], "text": ""}]},
    ]
    tree.json("dataset/testing_data/annotations/82092117.json", {"form": form})
    tree.image("dataset/testing_data/images/82092117.png")
    words, entities = open_pages(f"funsd:{tree}", "test"), open_pages(f"funsd-entities:{tree}", "test")
    assert words.classes == ("word",) and words.on(0).boxes.tolist() == [[5, 5, 20, 15], [22, 5, 50, 15]]
    assert [entities.classes[kind] for kind in entities.on(0).classes] == ["question", "other"]
    assert entities.on(0).boxes.tolist() == [[5, 5, 50, 30], [5, 40, 9, 50]]


def test_rvlcdip_is_a_source_with_sixteen_kinds(tree):
    tree.image("rvl-cdip/images/imagesq/q/o/c/qoc54c00/80035521.tif", shade=10)
    tree.image("rvl-cdip/images/imagese/e/e/a/eea85d00/527838274.tif", shade=200)
    lines = ["imagesq/q/o/c/qoc54c00/80035521.tif 15", "imagese/e/e/a/eea85d00/527838274.tif 1"]
    tree.text("rvl-cdip/labels/test.txt", "\n".join(lines))
    source = open_kinds(f"rvlcdip:{tree}", "test")
    assert [source.classes[source.label(index)] for index in range(2)] == ["memo", "form"]
    assert [int(source.read(index)[0, 0, 0]) for index in range(2)] == [10, 200]
    tree.text("rvl-cdip/labels/val.txt", "\n".join([*lines, "imagesa/missing.tif 2", f"{lines[0][:-2]}16"]))
    with pytest.raises(UserError, match="for 2 reasons") as told:
        open_kinds(f"rvlcdip:{tree}", "val")
    assert "imagesa/missing.tif" in str(told.value) and "80035521.tif 16" in str(told.value)


@pytest.mark.parametrize("name", ["publaynet", "doclaynet", "ctdar", "pubtables", "funsd", "voc12", "voc", "coco"])
def test_an_empty_folder_is_met_with_where_to_get_the_set_and_how_to_lay_it_out(tmp_path, name):
    with pytest.raises(UserError, match="; (fetch|clone|unpack|put) "):
        open_pages(f"{name}:{tmp_path}")
    with pytest.raises(UserError, match="There is no folder .*; (fetch|clone|unpack|put) "):
        open_pages(f"{name}:{tmp_path / 'none'}")


def test_an_unknown_name_is_met_with_the_nearest(tmp_path):
    with pytest.raises(UserError, match="did you mean 'publaynet'"):
        open_pages(f"publynet:{tmp_path}")
    with pytest.raises(UserError, match="give NAME:FOLDER"):
        open_pages(str(tmp_path))
    (tmp_path / "annotations.json").write_text("{}")
    with pytest.raises(UserError, match=f"It looks like coco:{tmp_path}"):
        open_pages(str(tmp_path))
    with pytest.raises(UserError, match="There is no COCO file"):
        open_pages(str(tmp_path / "none.json"))


def test_sizes_that_nobody_states_come_from_the_images(tree):
    tree.image("images/cTDaR_t10000.jpg", 33, 44)
    tree.text(
        "annotations/cTDaR_t10000.xml", "<document><table><Coords points='1,1 1,90 9,90 9,1'/></table></document>"
    )
    pages = open_pages(f"ctdar:{tree}", headers=False)
    assert pages.sizes.tolist() == [[33, 44]]
    assert pages.on(0).boxes.tolist() == [[1, 1, 9, 44]]
    assert np.array_equal(pages.on(0).shapes[0][0][:, 1], [1, 90, 90, 1])  # as the official tool measures it
