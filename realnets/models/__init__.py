"""Networks: this project's own, torchvision's and timm's, from pretrained weights, a checkpoint or a random start."""

from realnets.models.checkpoint import read_state
from realnets.models.classifier import features, head_of
from realnets.models.efficientnet_lite0 import EfficientNetLite0, imagenet, imagenet_state
from realnets.models.initialisation import draw_classifier, draw_weights
from realnets.models.libraries import OWN, normalisation
from realnets.models.loading import CLASSIFIERS, STARTS, build, load
from realnets.models.small import ResNet20, SmallCNN

__all__ = [
    # A network for a target.
    "load",
    "build",
    "STARTS",
    "CLASSIFIERS",
    "OWN",
    # Its parts.
    "head_of",
    "features",
    "normalisation",
    # This project's networks.
    "EfficientNetLite0",
    "SmallCNN",
    "ResNet20",
    "imagenet",
    "imagenet_state",
    # Weights.
    "draw_weights",
    "draw_classifier",
    "read_state",
]
