# The same with DiT-L: 94.9 % AP in the paper. Rate 1e-4, no mixed precision (as released), drop path 0.2; 24 blocks of
# width 1024, layer scale 1e-5. Released: model.weights=publaynet_dit-l_cascade.pth.
from .publaynet_cascade import dataloader, lr_multiplier, model, optimizer, pages, train

model.backbone.spec = "beit_large_patch16_224"
model.backbone.options.init_values = 1e-5
model.backbone.drop_path = 0.2
optimizer.lr = 1e-4
train.amp.enabled = False
