"""The image sets of the benchmark: a manifest with train and val for the search, and an audit that no side sees."""

import csv
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


def digits(_source):
    """Scikit-learn's digits as grey images, far from ImageNet: 1,187 of them, so that a trial takes seconds."""
    found = load_digits()
    _, chosen = train_test_split(np.arange(len(found.target)), test_size=1187, stratify=found.target, random_state=0)
    for place in chosen:
        pixels = Image.fromarray((found.images[place] * 15.9).astype(np.uint8)).convert("RGB")
        yield pixels.resize((96, 96), Image.Resampling.NEAREST), str(found.target[place])


def stamps(folder):
    """Debian's Tux Paint stamps, cut-out photos and drawings: the seven largest folders, without mirror images."""
    classes = {}
    root = Path(folder) / "usr/share/tuxpaint/stamps"
    for path in sorted(root.rglob("*.png")):
        if not path.stem.endswith(("_mirror", "_flip")):
            classes.setdefault(path.relative_to(root).parts[0], []).append(path)
    for name in sorted(classes, key=lambda each: (-len(classes[each]), each))[:7]:
        for path in classes[name]:
            with Image.open(path) as image:
                seen = image.convert("RGBA")
                paper = Image.new("RGBA", seen.size, "white")
                paper.alpha_composite(seen)
                yield paper.convert("RGB").resize((96, 96), Image.Resampling.BICUBIC), name


def textile(wheel):
    """Simulated textile defects of the package conformal-clip-data: three classes of 250-pixel images."""
    with zipfile.ZipFile(wheel) as archive:
        for name in sorted(archive.namelist()):
            if "/simulated/" in name and name.endswith((".png", ".jpg", ".jpeg")):
                with Image.open(BytesIO(archive.read(name))) as image:
                    yield image.convert("RGB").resize((96, 96), Image.Resampling.BICUBIC), name.split("/")[-2]


SETS = {"digits": digits, "stamps": stamps, "textile": textile}
AUDIT, VAL = 0.25, 0.25
"""Of all items, and of what is left."""


def prepare(name, source, folder, seed):
    """Write images/*.png, search.csv (path, label, split) and audit.csv (path, label)."""
    if (folder / "audit.csv").exists():
        return
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows = []
    for place, (image, label) in enumerate(SETS[name](source)):
        image.save(folder / "images" / f"{place:05d}.png")
        rows.append((f"images/{place:05d}.png", label))
    labels = np.array([label for _, label in rows])
    seen, audit = train_test_split(np.arange(len(rows)), test_size=AUDIT, stratify=labels, random_state=0)
    train, val = train_test_split(seen, test_size=VAL, stratify=labels[seen], random_state=seed)
    split = {**dict.fromkeys(train, "train"), **dict.fromkeys(val, "val")}
    _write(folder / "search.csv", [("path", "label", "split"), *((*rows[at], split[at]) for at in sorted(split))])
    _write(folder / "audit.csv", [("path", "label"), *(rows[at] for at in audit)])


def pixels(manifest):
    """Images (items, 3, 96, 96) uint8, labels, splits; labels count from 0 in the order of their names."""
    with manifest.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = sorted({row["label"] for row in rows})
    images = np.stack([_pixels(manifest.parent / row["path"]) for row in rows])
    labels = np.array([names.index(row["label"]) for row in rows])
    return images, labels, np.array([row.get("split", "audit") for row in rows])


def _pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).transpose(2, 0, 1).copy()


def _write(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
