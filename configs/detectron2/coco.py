# Your own pages and classes, from a COCO file, by fine-tuning any backbone or a whole detector:
#   densessl detect train coco.py pages.data=mine.json model.backbone.spec=runs/dit
#   densessl detect train coco.py pages.data=mine.json model.backbone.neck=dit model.weights=publaynet_dit-b_cascade.pth
# Classes are those of the file; objects without masks have their boxes. 15 % of the pages are kept apart to judge by,
# or give pages.val=other.json pages.val_share=0. ViTDet's simple pyramid, its decay of rates by layer (arXiv
# 2203.16527), weight decay 0.05 but on norms and biases. 3,000 steps x 8 pages / 1,000 pages = 24 epochs; see
# train.max_iter.
from .common.cascade import model
from .common.data import dataloader, pages
from .common.train import lr_multiplier, optimizer, train

pages.val_share = 0.15
model.backbone.neck = "auto"  # simple for transformers, stages for the rest
model.backbone.drop_path = None  # 0.1 is usual for transformers, and others have none
optimizer.lr = 1e-4
optimizer.params.layer_decay = 0.75
optimizer.params.decay_all = False
dataloader.train.total_batch_size = 8
train.max_iter = 3000
train.eval_period = train.checkpointer.period = 500
