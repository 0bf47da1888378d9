# Tables on modern pages with DiT-B, Cascade R-CNN: 95.85 % weighted F1 in the paper; see ctdar_modern.py.
from .common.cascade import model
from .ctdar_modern import dataloader, lr_multiplier, optimizer, pages, train
