# Pascal VOC with the settings of voc_c4.py on a feature pyramid of the same ResNet-50, whose own convolutions have
# batch norms over all GPUs, as MoCo's protocol for FPN on COCO (arXiv 1911.05722, section 4.2) has it. Any network with
# stages will do. 24,000 steps x 16 images / 16,551 images = 23 epochs.
from .common.mask_rcnn import model
from .voc_c4 import dataloader, lr_multiplier, optimizer, pages, train

model.backbone.spec, model.backbone.options = "resnet50", {}
model.backbone.neck, model.backbone.norm, model.backbone.drop_path = "stages", "SyncBN", None
model.backbone.freeze_norms, model.backbone.sync_norms = False, True
for _name in ("mask_in_features", "mask_pooler", "mask_head"):
    model.roi_heads.pop(_name)
