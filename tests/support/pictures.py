"""Small images that a network can learn, as a file that any command can read."""

import numpy as np


def write_pictures(folder):
    """Write 240 generated images of 32 pixels in three classes as an .npz file; its path."""
    rng = np.random.default_rng(0)
    labels = np.arange(240) % 3
    images = rng.integers(0, 120, (240, 32, 32, 3))
    for image, label in zip(images, labels, strict=True):
        image[10 * label : 10 * label + 10] += 90
    path = folder / "pictures.npz"
    np.savez(path, images=images.astype(np.uint8), labels=labels)
    return path
