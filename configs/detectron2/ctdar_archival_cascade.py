# Tables on archival pages with DiT-B, Cascade R-CNN; see ctdar_archival.py.
from .common.cascade import model
from .ctdar_archival import dataloader, lr_multiplier, optimizer, pages, train
