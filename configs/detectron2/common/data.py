# Pages and how they are shown. Keys of `pages` are those of densessl detect: pages.data=SET, pages.val=SET, ...
import detectron2.data.transforms as T
from detectron2.config import LazyCall as L
from detectron2.data import build_detection_test_loader, build_detection_train_loader
from omegaconf import OmegaConf

from densessl.documents.detectron2.pages import PageMapper, judged_pages, learned_pages
from densessl.documents.detectron2.served import PageEvaluator
from densessl.hardware import Hardware

_workers = Hardware.of("auto").workers(None)  # as many as this machine can feed its GPUs, or its CPU, with

pages = dict(
    data=None,
    split=None,
    classes=None,  # None: those of the data
    names={},
    partial=False,
    limit=None,
    seed=0,
    val=None,
    val_split=None,
    val_share=0.0,  # where there is no val: keep about this share apart, by document
    masks=True,
)

dataloader = OmegaConf.create()
# DETR's mapper as DiT has it, but for its mirroring: half of the pages are cropped on the way. Text is not mirrored.
dataloader.train = L(build_detection_train_loader)(
    dataset=L(learned_pages)(pages="${pages}"),
    mapper=L(PageMapper)(
        is_train=True,
        augmentations=[
            L(T.RandomApply)(
                tfm_or_aug=L(T.AugmentationList)(
                    augs=[
                        L(T.ResizeShortestEdge)(short_edge_length=(400, 500, 600), sample_style="choice"),
                        L(T.RandomCrop)(crop_type="absolute_range", crop_size=(384, 600)),
                    ]
                ),
                prob=0.5,
            ),
            L(T.ResizeShortestEdge)(short_edge_length=list(range(480, 801, 32)), max_size=1333, sample_style="choice"),
        ],
        masks="${pages.masks}",
        mask_format="bitmask",
    ),
    total_batch_size=16,
    num_workers=_workers,
)
dataloader.test = L(build_detection_test_loader)(
    dataset=L(judged_pages)(pages="${pages}"),
    mapper=L(PageMapper)(is_train=False, augmentations=[L(T.ResizeShortestEdge)(short_edge_length=800, max_size=1333)]),
    num_workers=_workers,
)
dataloader.evaluator = L(PageEvaluator)(pages="${pages}")
