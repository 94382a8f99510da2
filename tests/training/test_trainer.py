import torch


def test_the_same_seed_gives_the_same_curve_bit_for_bit(tiny):
    world, recipe = tiny.world(), tiny.recipe(optimisation={"mixup": 0.2}, data={"augment": "light"})
    first = tiny.seen(tiny.finish(world.trainer(recipe)))
    torch.rand(17)
    assert tiny.seen(tiny.finish(world.trainer(recipe))) == first
    other = recipe.model_copy(update={"seed": 1})
    assert tiny.seen(tiny.finish(world.trainer(other))) != first
