"""From a backbone and few labels to a classifier: fine-tuning, distillation on unlabeled images, prediction.

SimCLRv2's second and third step (arXiv 2006.10029), for a backbone of any method.
"""

from densessl.classification.classifier import Classifier, load_classifier
from densessl.classification.distill import distill
from densessl.classification.finetune import finetune
from densessl.classification.predict import classify

__all__ = ["Classifier", "classify", "distill", "finetune", "load_classifier"]
