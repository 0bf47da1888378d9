"""Batch norm over all processes on CPUs, where torch's SyncBatchNorm refuses to work."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce

from densessl.distributed import world_size


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
        mean = all_reduce(x.mean(dims)) / world_size()
        centred = x - _channels(mean, x)
        variance = all_reduce(centred.square().mean(dims)) / world_size()
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


def synchronise(module: nn.Module) -> None:
    """Turn every BatchNorm1d, 2d and 3d below `module` into one over all processes, in place, with its weights."""
    for part in module.modules():
        if type(part) in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d):
            part.__class__ = CPUSyncBatchNorm


def _channels(values: Tensor, like: Tensor) -> Tensor:
    """(C,) -> (1, C, 1, ...)."""
    return values.view(1, -1, *[1] * (like.ndim - 2))
