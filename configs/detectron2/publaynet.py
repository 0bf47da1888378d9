# PubLayNet with DiT-B, Mask R-CNN: 93.5 % AP in the paper (arXiv 2203.02378, table 2); not run to its end here.
#   densessl detect train publaynet.py pages.data=publaynet:FOLDER pages.val=publaynet:FOLDER \
#       model.backbone.spec=runs/dit
# 60,000 steps x 16 pages / 335,703 pages = 2.9 epochs. Five classes: text, title, list, table, figure.
# Without a GPU's memory for 16 pages, give model.backbone.checkpointing=true. DiT's released detector of this recipe:
# model.weights=publaynet_dit-b_mrcnn.pth.
from .common.data import dataloader, pages
from .common.mask_rcnn import model
from .common.train import lr_multiplier, optimizer, train

pages.data, pages.split = "publaynet:data/publaynet", "train"
pages.val, pages.val_split = "publaynet:data/publaynet", "val"
pages.classes = ["text", "title", "list", "table", "figure"]
