"""Sets of images: found in folders, labelled, sampled, streamed in batches, and those in the box.

    scan, of_files -> ImageSet --sample--> ImageSet --batches--> ImageBatch, ImageBatch, ...

Nothing here needs torch, and only file names are held in memory until a batch is asked for.
"""

from tresnet_deploy.images.folders import of_files, scan
from tresnet_deploy.images.labels import INDEX_HEADING
from tresnet_deploy.images.packaged import (
    Purpose,
    default_images,
    demo_checkpoint,
    demo_images,
    sample_photos,
)
from tresnet_deploy.images.sets import ImageFile, ImageSet, counted, dataset_digest, sample
from tresnet_deploy.images.stream import ImageBatch, Skipped, batches, first_readable

__all__ = [
    "INDEX_HEADING",
    "ImageBatch",
    "ImageFile",
    "ImageSet",
    "Purpose",
    "Skipped",
    "batches",
    "counted",
    "dataset_digest",
    "default_images",
    "demo_checkpoint",
    "demo_images",
    "first_readable",
    "of_files",
    "sample",
    "sample_photos",
    "scan",
]
