"""How known kinds of models fall into pieces; the forward passes are those of timm 1.0."""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from timm.layers.classifier import ClassifierHead, NormMlpClassifierHead
from timm.models.convnext import ConvNeXt
from timm.models.efficientnet import EfficientNet
from timm.models.mobilenetv3 import MobileNetV3
from timm.models.resnet import ResNet
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from torch.nn import functional

from autoft.model.chain import Cut, Piece, has_hooks

Cutter: TypeAlias = Callable[[Any], Iterator[Piece]]


def cut_known(module: nn.Module) -> Cut | None:
    """The cut of a model whose class is known exactly; a subclass may have another forward pass."""
    if callable(own := getattr(module, "segments", None)):
        return Cut("segments()", own=tuple(own()))
    if type(module).forward is nn.Sequential.forward:
        return Cut("sequential", tuple(_flat(module, "")))
    cutter = _CUTTERS.get(type(module))
    return Cut("cutter", tuple(cutter(module))) if cutter is not None else None


def _flat(module: nn.Module, name: str) -> Iterator[Piece]:
    """The steps of nested nn.Sequentials, as far as there are no hooks on them."""
    if type(module).forward is not nn.Sequential.forward or (name and has_hooks(module)):
        yield Piece(module, (name,))
        return
    for child_name, child in module.named_children():
        yield from _flat(child, f"{name}.{child_name}" if name else child_name)


def _children(module: nn.Module, *names: str) -> Iterator[Piece]:
    for name in names:
        yield from _flat(module.get_submodule(name), name)


def _dropping(root: Any, classifier: str) -> Piece:
    """The classifier behind a dropout that is a function and follows the root's mode."""

    def run(x: Any) -> Any:
        if root.drop_rate:
            x = functional.dropout(x, p=float(root.drop_rate), training=root.training)
        return root.get_submodule(classifier)(x)

    return Piece(run, (classifier,))


def _resnet(model: ResNet) -> Iterator[Piece]:
    yield from _children(model, "conv1", "bn1", "act1", "maxpool", "layer1", "layer2", "layer3", "layer4")
    yield from _children(model, "global_pool")
    yield _dropping(model, "fc")


def _efficientnet(model: EfficientNet) -> Iterator[Piece]:
    yield from _children(model, "conv_stem", "bn1", "blocks", "conv_head", "bn2", "global_pool")
    yield _dropping(model, "classifier")


def _mobilenetv3(model: MobileNetV3) -> Iterator[Piece]:
    yield from _children(
        model, "conv_stem", "bn1", "blocks", "global_pool", "conv_head", "norm_head", "act2", "flatten"
    )
    yield _dropping(model, "classifier")


def _vit(model: VisionTransformer) -> Iterator[Piece]:
    yield from _children(model, "patch_embed")
    own = tuple(name for name, _ in model.named_parameters(recurse=False))
    yield Piece(model._pos_embed, (*own, "pos_drop"))
    yield from _children(model, "patch_drop", "norm_pre", "blocks", "norm")
    yield Piece(model.pool, ("attn_pool",) if model.attn_pool is not None else ())
    yield from _children(model, "fc_norm", "head_drop", "head")


def _convnext(model: ConvNeXt) -> Iterator[Piece]:
    yield from _children(model, "stem")
    for index, _ in enumerate(model.stages):
        yield from _children(model, f"stages.{index}.downsample", f"stages.{index}.blocks")
    yield from _children(model, "norm_pre")
    yield from _head(model)


def _swin(model: SwinTransformer) -> Iterator[Piece]:
    yield from _children(model, "patch_embed")
    for index, _ in enumerate(model.layers):
        yield from _children(model, f"layers.{index}.downsample", f"layers.{index}.blocks")
    yield from _children(model, "norm")
    yield from _head(model)


def _head(model: Any) -> Iterator[Piece]:
    """The two common heads of timm."""
    if type(model.head) is NormMlpClassifierHead:
        yield from _children(model, *(f"head.{name}" for name in ("global_pool", "norm", "flatten", "pre_logits")))
        yield from _children(model, "head.drop", "head.fc")
    elif type(model.head) is ClassifierHead:
        yield from _children(model, "head.global_pool", "head.drop", "head.fc", "head.flatten")
    else:
        yield Piece(model.head, ("head",))


_CUTTERS: dict[type[nn.Module], Cutter] = {
    ResNet: _resnet,
    EfficientNet: _efficientnet,
    MobileNetV3: _mobilenetv3,
    VisionTransformer: _vit,
    ConvNeXt: _convnext,
    SwinTransformer: _swin,
}
