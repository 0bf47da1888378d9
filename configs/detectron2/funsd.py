# Words of FUNSD's forms with DiT-B, Mask R-CNN, a word's box being its mask: F1 of 93.88 % at IoU 0.5 in the paper.
#   densessl detect train funsd.py pages.data=funsd:FOLDER pages.val=funsd:FOLDER model.backbone.spec=runs/dit
# 60,000 steps x 16 pages / 149 pages = 6,443 epochs: give train.max_iter=6000 for a tenth.
# Anchors are those of the released weights, 4 to 64 px by 1.5, 3.5 and 6.5, though detectron2's ratios are height /
# width and words are wide; for a run of your own, give the inverses. Pages have hundreds of words, so masks stay
# polygons, and none are cropped. Released: model.weights=funsd_dit-b_mrcnn.pth.
from .common.data import dataloader, pages
from .common.mask_rcnn import model
from .common.train import lr_multiplier, optimizer, train

pages.data, pages.split = "funsd:data/funsd", "train"
pages.val, pages.val_split = "funsd:data/funsd", "test"
pages.classes = ["word"]
model.proposal_generator.anchor_generator.sizes = [[4], [8], [16], [32], [64]]
model.proposal_generator.anchor_generator.aspect_ratios = [1.5, 3.5, 6.5]
model.roi_heads.box_predictor.test_topk_per_image = 1000
dataloader.train.mapper.mask_format = "polygon"
dataloader.train.mapper.augmentations.pop(0)
optimizer.lr = 1e-4
