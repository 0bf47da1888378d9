# Mask R-CNN with detectron2's stock heads on maps p2 to p6 of any backbone: what DiT's detectors are.
# model.backbone.spec= takes what densessl pretrain wrote, .safetensors, an official .pth, timm:NAME, hf:REPO, or a timm
# architecture with random weights; model.backbone.neck= dit, simple, stages or auto; model.weights= a whole detector.
from detectron2.config import LazyCall as L
from detectron2.layers import ShapeSpec
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.matcher import Matcher
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.proposal_generator import RPN, StandardRPNHead
from detectron2.modeling.roi_heads import (
    FastRCNNConvFCHead,
    FastRCNNOutputLayers,
    MaskRCNNConvUpsampleHead,
    StandardROIHeads,
)

from densessl.documents.detectron2.backbones import page_backbone
from densessl.documents.detectron2.model import page_rcnn
from densessl.documents.detectron2.pages import count_classes

_maps, _scales = ["p2", "p3", "p4", "p5"], [1 / 4, 1 / 8, 1 / 16, 1 / 32]

model = L(page_rcnn)(
    backbone=L(page_backbone)(
        spec="beit_base_patch16_224",
        options=dict(use_abs_pos_emb=True, use_rel_pos_bias=False, init_values=0.1),  # DiT-B
        neck="dit",
        channels=256,
        norm="",
        freeze_norms=None,
        drop_path=0.1,
        checkpointing=False,
    ),
    proposal_generator=L(RPN)(
        in_features=[*_maps, "p6"],
        head=L(StandardRPNHead)(in_channels=256, num_anchors=3),
        anchor_generator=L(DefaultAnchorGenerator)(
            sizes=[[32], [64], [128], [256], [512]],
            aspect_ratios=[0.5, 1.0, 2.0],
            strides=[4, 8, 16, 32, 64],
            offset=0.0,
        ),
        anchor_matcher=L(Matcher)(thresholds=[0.3, 0.7], labels=[0, -1, 1], allow_low_quality_matches=True),
        box2box_transform=L(Box2BoxTransform)(weights=[1.0, 1.0, 1.0, 1.0]),
        batch_size_per_image=256,
        positive_fraction=0.5,
        pre_nms_topk=(2000, 1000),
        post_nms_topk=(1000, 1000),
        nms_thresh=0.7,
    ),
    roi_heads=L(StandardROIHeads)(
        num_classes=L(count_classes)(pages="${pages}"),
        batch_size_per_image=512,
        positive_fraction=0.25,
        proposal_matcher=L(Matcher)(thresholds=[0.5], labels=[0, 1], allow_low_quality_matches=False),
        box_in_features=_maps,
        box_pooler=L(ROIPooler)(output_size=7, scales=_scales, sampling_ratio=0, pooler_type="ROIAlignV2"),
        box_head=L(FastRCNNConvFCHead)(
            input_shape=ShapeSpec(channels=256, height=7, width=7), conv_dims=[], fc_dims=[1024, 1024]
        ),
        box_predictor=L(FastRCNNOutputLayers)(
            input_shape=ShapeSpec(channels=1024),
            test_score_thresh=0.05,
            box2box_transform=L(Box2BoxTransform)(weights=(10, 10, 5, 5)),
            num_classes="${..num_classes}",
        ),
        mask_in_features=_maps,
        mask_pooler=L(ROIPooler)(output_size=14, scales=_scales, sampling_ratio=0, pooler_type="ROIAlignV2"),
        mask_head=L(MaskRCNNConvUpsampleHead)(
            input_shape=ShapeSpec(channels=256, width=14, height=14),
            num_classes="${..num_classes}",
            conv_dims=[256, 256, 256, 256, 256],
        ),
    ),
    weights=None,
    twin=None,
)
