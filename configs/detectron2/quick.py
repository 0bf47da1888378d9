# The detector of configs/detect/quick.yaml out of detectron2's parts: thin heads, flat anchors, a small network. What
# it learns is also written as detector.safetensors, which densessl detect takes without detectron2; and model.weights=
# takes such a file. 2,000 steps x 4 pages / 1,000 pages = 8 epochs.
#   densessl detect train quick.py pages.data=coco:generated
import detectron2.data.transforms as T
from detectron2.config import LazyCall as L

from densessl.documents.detectron2.backbones import page_backbone
from densessl.documents.detectron2.pages import count_classes
from densessl.documents.detectron2.twin import thin

from .common.data import dataloader, pages
from .common.train import lr_multiplier, optimizer, train

pages.masks = False
pages.val_share = 0.1
model = thin(
    L(count_classes)(pages="${pages}"),
    L(page_backbone)(
        spec="resnet18", options=dict(channels=[32, 64, 128, 256], layers=[1, 1, 1, 1]), neck="auto", freeze_norms=None
    ),
    image_size="${dataloader.test.mapper.augmentations.0.max_size}",
)
# A longest side of 512 px, and to learn from 0.6 to 1.0 of it, as densessl detect shows pages. For another, give
# dataloader.test.mapper.augmentations.0.max_size=800, which all sizes follow.
dataloader.test.mapper.augmentations = [L(T.ResizeShortestEdge)(short_edge_length="${.max_size}", max_size=512)]
dataloader.train.mapper.augmentations = [
    L(T.ResizeScale)(
        min_scale=0.6,
        max_scale=1.0,
        target_height="${.target_width}",
        target_width="${dataloader.test.mapper.augmentations.0.max_size}",
    )
]
dataloader.train.total_batch_size = 4
optimizer.lr = 5e-4
optimizer.params.decay_all = False
train.max_iter = 2000
