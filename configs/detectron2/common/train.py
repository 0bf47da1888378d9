# How a detector is trained: DiT's recipe (arXiv 2203.02378, section 4.3, and the settings of its released code).
import torch
from detectron2.config import LazyCall as L
from detectron2.solver import WarmupParamScheduler
from fvcore.common.param_scheduler import CosineParamScheduler

from densessl.documents.detectron2.learning import ClippedAdamW, parameter_groups

_gpu = torch.cuda.is_available()

train = dict(
    output_dir="",  # runs/NAME with densessl detect; detectron2's own launcher wants one
    init_checkpoint="",  # weights to begin with are model.weights=FILE, which takes more kinds of files
    max_iter=60000,
    amp=dict(enabled=_gpu),
    ddp=dict(broadcast_buffers=False, find_unused_parameters=False, fp16_compression=False),
    checkpointer=dict(period=2000, max_to_keep=3),
    eval_period=2000,  # of detectron2's launcher; densessl detect judges at the end
    log_period=20,
    device="cuda" if _gpu else "cpu",
    seed=42,
)

optimizer = L(ClippedAdamW)(
    params=L(parameter_groups)(lr="${..lr}", layer_decay=1.0, decay_all=True),  # weight decay on norms and biases too
    lr=4e-4,
    betas=(0.9, 0.999),
    weight_decay=0.05,
    clip=1.0,
)

# 1,000 of 60,000 steps from a hundredth of the rate, then half a cosine to 0, whatever train.max_iter is.
lr_multiplier = L(WarmupParamScheduler)(
    scheduler=L(CosineParamScheduler)(start_value=1.0, end_value=0.0),
    warmup_length=1000 / 60000,
    warmup_factor=0.01,
)
