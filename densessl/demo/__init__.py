"""`densessl demo`: the main job on what the package ships, from pretraining to masks and figures, in a few minutes.

A small network is pretrained on generated scenes without their labels, segments the scenes it has not seen, and is
compared with the same network untrained, with k-means on colour and gradients, and with chance. What it prints depends
on nothing but the seed and the machine's arithmetic.
"""

from densessl.demo.run import demo

__all__ = ["demo"]
