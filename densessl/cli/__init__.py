"""The command line: each function reads its arguments, calls the package and prints the result.

Heavy packages are imported inside the commands, so that `densessl --help` answers at once.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from densessl.cli.detection import detect
from densessl.cli.shared import Commands, Overrides, Settings, parted
from densessl.errors import RunStopped, UserError

app = typer.Typer(
    cls=Commands,
    name="densessl",
    help="From a folder of unlabeled images to a pretrained backbone and to masks, without a label.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(detect, name="detect")


@app.command()
def pretrain(
    recipe: Annotated[str, typer.Argument(metavar="CONFIG", help="A recipe of configs/pretrain, or a path.")],
    overrides: Overrides = None,
    settings: Settings = False,
) -> None:
    """Pretrain a backbone on your images.

    densessl pretrain dino-small data=photos out=runs/photos epochs=100 batch_size=64

    A run that was stopped or killed goes on when the same command is given again. Settings: data, split, limit, out,
    backbone, backbone_options, image_size, batch_size, epochs, steps, lr, workers, seed, devices, nodes, precision,
    accumulate, channels_last, unreadable, checkpoint_minutes, checkpoint_steps, log_steps, optimizer.*, and those of
    the method, METHOD.*, which densessl methods METHOD tells.
    """
    _refuse_missing(overrides or [])
    from densessl.training import pretrain as run

    run(recipe, overrides or [])


@app.command()
def segment(
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGES... [KEY=VALUE]...", help="Folder, files, glob, PDFs, shards, videos.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the masks.")],
    classes: Annotated[str | None, typer.Option(help="Number of segments, or auto; 8 unless given.")] = None,
    backbone: Annotated[str | None, typer.Option(help="A run's folder, a file, timm:NAME or hf:REPO.")] = None,
    model: Annotated[
        str | None, typer.Option(help="An earlier run's model, or STEGO's .ckpt: only write masks.")
    ] = None,
    method: Annotated[str | None, typer.Option(help="kmeans unless given; stego trains a head; spectral.")] = None,
    recipe: Annotated[str | None, typer.Option("--config", help="A recipe of configs/segment, or a path.")] = None,
    settings: Settings = False,
) -> None:
    """Find segments in your images without a label, and write masks.

    densessl segment photos --backbone runs/photos --out masks --classes 6

    The same command again writes only what is missing, and applies the names you wrote into names.txt; with other
    --classes it finds the segments anew in what is kept, without backbone or training. Settings:
    split, probe, layers, window, facet, positions, image_size, tile, batch_size, epochs, steps, lr, restarts, workers,
    seed, devices, precision, learn_from, refine, refine_size, least_area, sharpness, every, stable, names, crops,
    sheets, coco, probabilities, cache, cache_size, keep_size, unreadable, stego.*, crf.*.
    With --settings it lists their meaning.
    """
    from densessl.segmentation.config import resolve
    from densessl.segmentation.run import segment as run

    given = {"out": out, "classes": classes, "backbone": backbone, "model": model, "method": method}
    print(run(resolve(images, given, recipe)))


@app.command()
def evaluate(
    backbone: Annotated[str, typer.Argument(help="A run's folder, a file, timm:NAME or hf:REPO; or segments.")],
    data: Annotated[str, typer.Option(help="Labelled images; of segments NAME:FOLDER, such as camvid:data/camvid.")],
    protocol: Annotated[str, typer.Option(help="knn, linear, finetune or segments.")] = "knn",
    out: Annotated[Path | None, typer.Option(help="File for the record, as JSON.")] = None,
    recipe: Annotated[str | None, typer.Option("--config", help="A recipe of configs/evaluate, or a path.")] = None,
    overrides: Overrides = None,
    settings: Settings = False,
) -> None:
    """Score a backbone on labelled images.

    densessl evaluate runs/photos --protocol knn --data labelled baselines=true --out knn.json

    Settings of knn, linear and finetune: baselines, split, test, test_split, page_side, limit, image_size, batch_size,
    workers, devices, precision, seed, unreadable. Of knn: k, temperature. Of linear: features, decay, iterations. Of
    finetune: labels, seeds, epochs, steps, lr, optimizer.*, finetune.*. Of segments, which are found without labels and
    held against label maps: learn_split, split, ignore, limit, judge, crops, inputs, methods, refine, classes, seeds,
    seed, probe_lr, baselines, pictures, panel, least_area and, as of densessl segment, image_size, tile, layers, facet,
    positions, window, batch_size, steps, epochs, lr, restarts, refine_size, sharpness, workers, devices, precision,
    cache, cache_size, keep_size, stego.*, crf.*. What that command wrote, or a .ckpt of STEGO's authors,
    is judged as it is. Sets are ade20k, camvid, cityscapes19, cityscapes27, cocostuff3, cocostuff15, cocostuff27,
    folder, labelmefacade, potsdam3 and voc.
    """
    from densessl.evaluation import evaluate as run
    from densessl.evaluation.record import describe, write_record
    from densessl.files import output_folder

    if out:
        output_folder(out.parent)
    record = run(backbone, protocol, data, overrides or [], recipe)
    print(describe(record))
    if out:
        write_record(record, out)


@app.command()
def finetune(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, a file, timm:NAME or hf:REPO.")],
    overrides: Overrides = None,
    recipe: Annotated[str | None, typer.Option("--config", help="A recipe of configs/finetune, or a path.")] = None,
    settings: Settings = False,
) -> None:
    """Make a classifier from a pretrained backbone and few labels.

    densessl finetune runs/photos data=labelled labels=0.1 out=runs/classifier

    Labels are subfolders, or a labels.csv with the columns name and class for those images that have one. A run that
    was stopped goes on when the same command is given again.

    Settings: data, labels, out, split, limit, image_size, batch_size, epochs, steps, lr, workers, devices, precision,
    seed, optimizer.*, finetune.* and others of densessl pretrain.
    """
    _refuse_missing(overrides or [])
    from densessl.classification import finetune as start

    start(run, overrides or [], recipe)


@app.command()
def distill(
    classifier: Annotated[str, typer.Argument(metavar="CLASSIFIER", help="The folder of a run of finetune.")],
    overrides: Overrides = None,
    recipe: Annotated[str | None, typer.Option("--config", help="A recipe of configs/distill, or a path.")] = None,
    settings: Settings = False,
) -> None:
    """Train a student on what a classifier says of unlabeled images.

    densessl distill runs/classifier data=photos backbone=resnet18 out=runs/student
    """
    _refuse_missing(overrides or [])
    from densessl.classification import distill as start

    start(classifier, overrides or [], recipe)


@app.command()
def classify(
    classifier: Annotated[str, typer.Argument(metavar="CLASSIFIER", help="A run of finetune or distill.")],
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGES... [split=NAME]", help="Folder, files, PDFs, shards, rvlcdip:FOLDER.")
    ],
    out: Annotated[Path, typer.Option(help="File for names, classes and probabilities.")] = Path("predictions.csv"),
) -> None:
    """Write the class of every image to a table; of images with a label, the share that is right is told.

    densessl classify runs/classifier photos --out predictions.csv
    densessl classify runs/documents rvlcdip:FOLDER split=test
    """
    from densessl.classification import classify as run
    from densessl.config import parse_overrides

    places, overrides = parted(images)
    given = parse_overrides(overrides)
    if set(given) - {"split"}:
        raise UserError(f"densessl classify has no setting {', '.join(sorted(set(given) - {'split'}))}, only split=.")
    if not places:
        raise UserError("There is nothing to classify: name images, or folders of them.")
    print(run(classifier, places, out, split=given.get("split")))


@app.command()
def methods(
    name: Annotated[str | None, typer.Argument(help="One method, to read all of it.")] = None,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="The table as the README has it.")] = False,
) -> None:
    """List the methods with papers, needs, recipes and published figures, or describe one.

    densessl methods byol
    """
    from densessl.describe import describe, markdown, table

    print(describe(name) if name else markdown() if as_markdown else table())


@app.command()
def pages(
    out: Annotated[Path, typer.Option(help="Folder for pictures, PDFs and annotations.")],
    count: Annotated[int, typer.Option(help="How many pages.")] = 100,
    seed: Annotated[int, typer.Option(help="Other seeds, other pages.")] = 0,
    overrides: Overrides = None,
    settings: Settings = False,
) -> None:
    """Generate pages with exact labels: COCO files with PubLayNet's and with DocLayNet's classes, and PDFs.

    densessl pages --out generated --count 1000 --seed 1 degrade=0.3

    The same command again goes on where it was stopped, and with a larger count it adds pages. Settings: size, suffix,
    quality, degrade, masks, kinds, languages, workers.
    """
    from densessl.data.synthetic.pages.run import resolve, write_pages

    print(write_pages(resolve(out, count, seed, overrides or [])))


@app.command()
def parse(
    documents: Annotated[
        list[str], typer.Argument(metavar="DOCUMENTS... [KEY=VALUE]...", help="PDFs, TIFFs, pictures, folders of them.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for what is written.")],
    formats: Annotated[
        str, typer.Option("--format", help="Some of json, md, html, coco, hocr, alto, page, with commas between.")
    ] = "json,md,html",
    settings: Settings = False,
) -> None:
    """Write the contents of documents: text in reading order, headings, lists, tables and figures.

    densessl parse report.pdf --out parsed --format md,json

    The same command again looks only at pages that are missing. Settings: pages, model, score, ocr, languages, reread,
    furniture, words, figures, join_tables, page_side, ocr_side, password, workers, devices.
    """
    from densessl.documents.parsing.config import resolve

    places, overrides = parted(documents)
    if not places:
        raise UserError("There is nothing to parse: name PDFs, pictures or folders of them.")
    config = resolve(places, out, formats.split(","), overrides)
    for place in places:
        _refuse_missing([f"data={place}"])
    from densessl.documents.parsing.run import parse as run

    print(run(config))


@app.command()
def export(
    backbone: Annotated[str, typer.Argument(help="A run's folder, a file, timm:NAME or hf:REPO.")],
    to: Annotated[str, typer.Option(help="timm, transformers, official or safetensors.")],
    out: Annotated[Path, typer.Option(help="Folder of timm and transformers; else a .pth or .safetensors.")],
) -> None:
    """Write a backbone as others read it.

    densessl export runs/dit --to transformers --out dit-hf

    timm and transformers get a folder that timm.create_model("local-dir:OUT") and AutoModel.from_pretrained("OUT")
    take; official is a .pth with the names of the papers' codes, safetensors one file of ours.
    """
    from densessl.backbones import export_backbone

    print(export_backbone(backbone, to, out))


@app.command("app")
def serve(
    host: Annotated[str, typer.Option(help="Address to serve on; 0.0.0.0 for other machines too.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to serve on.")] = 7860,
    share: Annotated[bool, typer.Option("--share", help="Also by an address that Gradio lends.")] = False,
    overrides: Overrides = None,
    settings: Settings = False,
) -> None:
    """Open the application: segment pictures, see what resembles what, parse documents, in a browser and by its API.

    densessl app --port 7860 runs=runs file_size=20 keep=30

    Nothing is downloaded and no file leaves the machine, unless --share is given. Settings: file_size, pages, pictures,
    pixels, side, seconds, queue, workers, memory, open_seconds, keep, held, disk, backbone, backbones, runs, models,
    detector, devices, demo, folder.
    """
    from densessl.apps.config import resolve
    from densessl.apps.run import serve as run

    run(resolve(overrides or []), host, port, share)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for pictures and run.")] = Path("densessl-demo"),
    opens: Annotated[bool, typer.Option("--app/--no-app", help="Open the application with the results.")] = True,
) -> None:
    """Pretrain and segment on what the package ships, and show it: minutes, and nothing is downloaded.

    densessl demo --out densessl-demo
    """
    from densessl.demo import demo as run

    run(out)
    if opens:
        from densessl.apps.config import AppConfig
        from densessl.apps.run import serve

        serve(AppConfig(runs=str(out), demo=str(out)), port=None, show=True)


def _refuse_missing(overrides: list[str]) -> None:
    """Say that images are not there before torch is imported, which takes seconds."""
    from densessl.config import parse_overrides
    from densessl.data.sources import open_source

    place = parse_overrides(overrides).get("data")
    if isinstance(place, str) and ":" not in place and not Path(place).expanduser().exists():
        open_source(place)


def main() -> None:
    """Run a command; a mistake of the user, or a run that was stopped, is one sentence and an exit status."""
    try:
        app()
    except UserError as error:
        _end(str(error), 2)
    except RunStopped as error:
        _end(str(error), error.status)
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not re.search("can't allocate memory|out of memory", str(error)):
            raise
        _end(
            f"There is not enough memory ({str(error).strip().splitlines()[0] if str(error).strip() else 'no more'}): "
            "give a smaller batch_size, a smaller network or narrower heads.",
            1,
        )
    except OSError as error:
        from densessl.files import FULL

        # A full disk can show itself in any library that writes.
        if error.errno not in FULL:
            raise
        _end(
            f"The disk is full: {error.filename or 'a file'} could not be written. Free some space and start again.", 2
        )


def _end(sentence: str, status: int) -> None:
    print(sentence, file=sys.stderr, flush=True)
    sys.exit(status)
