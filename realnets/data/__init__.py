"""Pictures for real networks: bundled sets, torchvision's, folders, and what changes one similarity at a time."""

from realnets.data.bundled import digits, mnist
from realnets.data.emoji import CATEGORIES, EIGHT_GROUPS, base_of, openmoji, render_svg
from realnets.data.folders import image_folder
from realnets.data.lazy import LazyImages
from realnets.data.named import DATASETS, load
from realnets.data.pictures import PictureDataset, Pictures, Split, as_input, balanced, split
from realnets.data.torchvision_sets import SETS
from realnets.data.transforms import (
    blurred,
    grey,
    inverted,
    merged_classes,
    permuted_classes,
    shuffled_blocks,
    shuffled_labels,
)
from realnets.models.libraries import IMAGENET_MEAN, IMAGENET_STD

__all__ = [
    # Sets.
    "load",
    "DATASETS",
    "SETS",
    "openmoji",
    "CATEGORIES",
    "EIGHT_GROUPS",
    "base_of",
    "render_svg",
    "mnist",
    "digits",
    "image_folder",
    # Pictures, samples of them, and what a network takes.
    "Pictures",
    "LazyImages",
    "Split",
    "split",
    "balanced",
    "as_input",
    "PictureDataset",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    # One similarity at a time.
    "shuffled_labels",
    "merged_classes",
    "permuted_classes",
    "grey",
    "inverted",
    "blurred",
    "shuffled_blocks",
]
