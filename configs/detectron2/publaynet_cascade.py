# PubLayNet with DiT-B, Cascade R-CNN: 94.5 % AP in the paper (arXiv 2203.02378, table 2); not run to its end here.
# 60,000 steps x 16 pages / 335,703 pages = 2.9 epochs. Released: model.weights=publaynet_dit-b_cascade.pth.
from .common.cascade import model
from .publaynet import dataloader, lr_multiplier, optimizer, pages, train
