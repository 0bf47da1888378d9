"""Pretraining: the loop around a method."""

from densessl.training.config import OptimizerConfig, PretrainConfig, resolve
from densessl.training.run import pretrain

__all__ = ["OptimizerConfig", "PretrainConfig", "pretrain", "resolve"]
