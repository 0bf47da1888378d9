# DocLayNet, eleven classes, with DiT-B's Cascade R-CNN. DiT has no recipe for it: PubLayNet's, for as many epochs as
# help there. 52,000 steps x 16 pages / 69,103 training pages = 12 epochs.
#   densessl detect train doclaynet.py pages.data=doclaynet:FOLDER pages.val=doclaynet:FOLDER \
#       model.backbone.spec=runs/dit
from .common.cascade import model
from .common.data import dataloader, pages
from .common.train import lr_multiplier, optimizer, train

pages.data, pages.split = "doclaynet:data/doclaynet", "train"
pages.val, pages.val_split = "doclaynet:data/doclaynet", "val"
# fmt: off
pages.classes = [
    "Caption", "Footnote", "Formula", "List-item", "Page-footer", "Page-header", "Picture", "Section-header", "Table",
    "Text", "Title",
]
# fmt: on
optimizer.lr = 1e-4
train.max_iter = 52000
