# Pascal VOC by MoCo's protocol (arXiv 1911.05722, section 4.2): Faster R-CNN on a ResNet-50's C4, all layers
# fine-tuned, batch norms learned over all GPUs and one added behind the last stage, trained on trainval of 2007 and
# 2012, judged on test 2007. SGD, rate 0.02, momentum 0.9, weight decay 1e-4 but on norms; 24,000 steps x 16 images /
# 16,551 images = 23 epochs, the rate a tenth after 18,000 and 22,000. Published AP / AP50 / AP75: 53.5 / 81.3 / 58.8
# from ImageNet's labels, 57.4 / 82.5 / 64.0 from MoCo v2 (800 epochs); not run to its end here. Our AP50 is COCO's,
# theirs VOC's of 11 points.
#   densessl detect train voc_c4.py pages.data='[voc07:FOLDER,voc12:FOLDER]' pages.val=voc07:FOLDER \
#       model.backbone.spec=runs/moco
import detectron2.data.transforms as T
import torch
from detectron2.config import LazyCall as L
from detectron2.layers import ShapeSpec
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.matcher import Matcher
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.proposal_generator import RPN, StandardRPNHead
from detectron2.modeling.roi_heads import FastRCNNOutputLayers, Res5ROIHeads
from detectron2.solver import WarmupParamScheduler
from detectron2.solver.build import get_default_optimizer_params
from fvcore.common.param_scheduler import MultiStepParamScheduler

from densessl.documents.detectron2.backbones import c4_head, c4_trunk
from densessl.documents.detectron2.model import page_rcnn
from densessl.documents.detectron2.pages import count_classes

from .common.data import dataloader, pages
from .common.train import train

pages.data, pages.split = ["voc07:data/voc", "voc12:data/voc"], "trainval"
pages.val, pages.val_split = "voc07:data/voc", "test"
pages.masks = False
model = L(page_rcnn)(
    backbone=L(c4_trunk)(spec="resnet50", options={}),
    proposal_generator=L(RPN)(
        in_features=["res4"],
        head=L(StandardRPNHead)(in_channels=1024, num_anchors=15),
        anchor_generator=L(DefaultAnchorGenerator)(
            sizes=[[32, 64, 128, 256, 512]], aspect_ratios=[0.5, 1.0, 2.0], strides=[16], offset=0.0
        ),
        anchor_matcher=L(Matcher)(thresholds=[0.3, 0.7], labels=[0, -1, 1], allow_low_quality_matches=True),
        box2box_transform=L(Box2BoxTransform)(weights=[1.0, 1.0, 1.0, 1.0]),
        batch_size_per_image=256,
        positive_fraction=0.5,
        pre_nms_topk=(12000, 6000),
        post_nms_topk=(2000, 1000),
        nms_thresh=0.7,
    ),
    roi_heads=L(Res5ROIHeads)(
        num_classes=L(count_classes)(pages="${pages}"),
        batch_size_per_image=512,
        positive_fraction=0.25,
        proposal_matcher=L(Matcher)(thresholds=[0.5], labels=[0, 1], allow_low_quality_matches=False),
        in_features=["res4"],
        pooler=L(ROIPooler)(output_size=14, scales=[1 / 16], sampling_ratio=0, pooler_type="ROIAlignV2"),
        res5=L(c4_head)(spec="${...backbone.spec}", options="${...backbone.options}"),
        box_predictor=L(FastRCNNOutputLayers)(
            input_shape=ShapeSpec(channels=2048, height=1, width=1),
            test_score_thresh=0.05,
            box2box_transform=L(Box2BoxTransform)(weights=(10, 10, 5, 5)),
            num_classes="${..num_classes}",
        ),
    ),
    weights=None,
    twin=None,
)
dataloader.train.mapper.augmentations = [
    L(T.ResizeShortestEdge)(short_edge_length=list(range(480, 801, 32)), max_size=1333, sample_style="choice"),
    L(T.RandomFlip)(horizontal=True),  # photographs, which may be mirrored
]
optimizer = L(torch.optim.SGD)(
    params=L(get_default_optimizer_params)(weight_decay_norm=0.0),  # detectron2's default, which MoCo leaves as it is
    lr=0.02,
    momentum=0.9,
    weight_decay=1e-4,
)
lr_multiplier = L(WarmupParamScheduler)(
    scheduler=L(MultiStepParamScheduler)(values=[1.0, 0.1, 0.01], milestones=[18000, 22000], num_updates=24000),
    warmup_length=100 / 24000,
    warmup_factor=0.001,
)
train.max_iter = 24000
train.amp.enabled = False
