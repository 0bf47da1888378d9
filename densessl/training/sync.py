"""Batch norm over all processes: timm's way on GPUs, our own on CPUs, where torch's refuses to work."""

from __future__ import annotations

import torch
from timm.layers import BatchNormAct2d, convert_sync_batchnorm
from torch import Tensor, nn

from densessl.distributed import sum_over_processes, world_size


class CPUSyncBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Statistics over the batches of all processes, gradients through them included; every batch is as large."""

    def _check_input_dim(self, input: Tensor) -> None:
        return

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or world_size() == 1:
            return super().forward(input)
        dims = [0, *range(2, input.ndim)]
        count = input.numel() // input.shape[1] * world_size()
        x = input.to(torch.promote_types(input.dtype, torch.float32))
        mean = sum_over_processes(x.mean(dims)) / world_size()
        centred = x - _channels(mean, x)
        variance = sum_over_processes(centred.square().mean(dims)) / world_size()
        if self.track_running_stats:
            self._follow(mean.detach(), variance.detach() * count / max(1, count - 1))
        scale = (variance + self.eps).rsqrt() * self.weight if self.affine else (variance + self.eps).rsqrt()
        out = centred * _channels(scale, x)
        return (out + _channels(self.bias, x) if self.affine else out).to(input.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        self.num_batches_tracked += 1
        momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance, momentum)


class CPUSyncBatchNormAct(CPUSyncBatchNorm):
    """timm's BatchNormAct2d, which has dropout and activation in it, over all processes."""

    def forward(self, input: Tensor) -> Tensor:
        return self.act(self.drop(super().forward(input)))


_ON_CPU = {
    nn.BatchNorm1d: CPUSyncBatchNorm,
    nn.BatchNorm2d: CPUSyncBatchNorm,
    nn.BatchNorm3d: CPUSyncBatchNorm,
    BatchNormAct2d: CPUSyncBatchNormAct,
}


def synchronise(module: nn.Module, accelerator: str) -> nn.Module:
    """`module` with every batch norm over all processes, with its weights; on a CPU it is changed in place."""
    if accelerator == "gpu":
        # torch's own conversion would drop the activation that timm's batch norms carry.
        return convert_sync_batchnorm(module)
    for part in module.modules():
        part.__class__ = _ON_CPU.get(type(part), type(part))
    return module


def _channels(values: Tensor, like: Tensor) -> Tensor:
    """(C,) -> (1, C, 1, ...)."""
    return values.view(1, -1, *[1] * (like.ndim - 2))
