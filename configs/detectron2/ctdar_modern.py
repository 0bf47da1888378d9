# Tables on the modern pages of ICDAR 2019 cTDaR with DiT-B, Mask R-CNN: 94.74 % weighted F1 in the paper, 95.85 with
# the cascade (ctdar_modern_cascade.py); not run to its end here. Rate 5e-5, as paper and released settings have it.
#   densessl detect train ctdar_modern.py pages.data=ctdar-modern:FOLDER model.backbone.spec=runs/dit
# 60,000 steps x 16 pages / 510 pages = 1,882 epochs, with 15 % of the 600 training pages kept apart by document: give
# train.max_iter=6000 for a tenth. With the test pages, pages.val=ctdar-modern:FOLDER pages.val_split=test
# pages.val_share=0. Released: model.weights=icdar19modern_dit-b_mrcnn.pth.
from .common.data import dataloader, pages
from .common.mask_rcnn import model
from .common.train import lr_multiplier, optimizer, train

pages.data = "ctdar-modern:data/ctdar"
pages.classes = ["table"]
pages.val_share = 0.15
optimizer.lr = 5e-5
train.eval_period = train.checkpointer.period = 1000
