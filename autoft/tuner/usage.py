"""What one must know to use a model that was fine-tuned; its file keeps it, and so does summary.json."""

from typing import Any

from autoft.data import DataHandle
from autoft.model import LoadedModel
from autoft.recipe import DataConfig

CROPS = {"squash": "squash", "crop": "center"}
"""Ways to resize, and what timm calls them."""


def usage(loaded: LoadedModel, data: DataHandle, settings: DataConfig) -> dict[str, Any]:
    """How the model is built, what goes in and what comes out, in timm's words where it has some.

    Returns:
        ``name`` and ``arguments`` of ``timm.create_model`` (none for a module of one's own); ``task``; ``classes`` in
        the order of the outputs; for images ``transform``, the arguments of ``timm.data.create_transform``; for a
        regression ``target_mean`` and ``target_std``: a prediction is output * target_std + target_mean.
    """
    task = data.task
    about: dict[str, Any] = {"name": loaded.card.name, "arguments": loaded.base.arguments, "task": task.kind}
    if task.kind == "regression":
        about |= {"target_mean": task.target_mean, "target_std": task.target_std}
    else:
        about["classes"] = list(task.classes)
    if data.spec.image:
        height, width, channels = data.spec.fields["input"].shape
        about["transform"] = {
            "input_size": [channels, height, width],
            "interpolation": "bicubic",
            "mean": list(loaded.card.mean),
            "std": list(loaded.card.std),
            "crop_pct": 1.0,
            "crop_mode": CROPS[settings.resize],
        }
    return about
