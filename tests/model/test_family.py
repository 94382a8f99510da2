import pytest

from autoft.model import FAMILY_DEFAULTS, build_card, complete
from autoft.recipe import ModelConfig, Recipe
from autoft.record import ModelCard

STAGES = [{"name": "head", "epochs": 1}, {"name": "tune", "unfreeze": 2, "epochs": 1}]


def card(family="cnn", size=224):
    return ModelCard("net", family, (), "timm", size, (0.5,), (0.5,))


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("resnet18", "cnn"),
        ("mobilenetv3_small_100", "cnn"),
        ("tf_efficientnet_lite0", "cnn"),
        ("vit_tiny_patch16_224", "vit"),
        ("convnext_atto", "convnext"),
        ("swin_tiny_patch4_window7_224", "swin"),
        ("mobilevit_xxs", "other"),
        ("gmlp_s16_224", "other"),
    ],
)
def test_families(name, family):
    assert build_card(ModelConfig(name=name)).family == family


def test_what_a_recipe_leaves_open_is_filled_in():
    recipe = complete(Recipe.parse({"model": "net", "stages": STAGES}, where="test"), card("vit"))
    assert recipe.data.image_size == 224
    assert [stage.lr for stage in recipe.stages] == [None, FAMILY_DEFAULTS["vit"].lr]
    assert [stage.head_lr for stage in recipe.stages] == [FAMILY_DEFAULTS["vit"].head_lr] * 2


def test_what_a_recipe_says_stays():
    raw = {"model": "net", "data": {"image_size": 96}, "stages": [{**STAGES[1], "lr": 1e-3, "head_lr": 2e-3}]}
    recipe = Recipe.parse(raw, where="test")
    assert complete(recipe, card()) == recipe


def test_completing_twice_is_completing_once():
    once = complete(Recipe.parse({"model": "net", "stages": STAGES}, where="test"), card())
    assert complete(once, card("vit", 32)) == once


def test_a_model_that_takes_no_images_gets_no_image_size():
    assert (
        complete(Recipe.parse({"model": "net", "stages": STAGES}, where="test"), card(size=0)).data.image_size is None
    )
