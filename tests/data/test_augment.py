import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autoft.data.augment import Part, augment, draw_flips, draw_mixup, mixup, normalise
from autoft.errors import ConfigError
from autoft.streams import stream

KINDS = ["none", "flip", "light", "strong"]
RANDOM_KINDS = pytest.mark.parametrize("kind", KINDS[1:])


def pictures(count=16, height=24, width=20, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, height, width, 3), dtype=torch.uint8, generator=generator)


def smooth(count=16, side=32):
    """A left-to-right and top-to-bottom gradient, the same for each item."""
    ramp = torch.linspace(40, 200, side)
    plane = torch.stack([ramp.expand(side, side), ramp.expand(side, side).T, torch.full((side, side), 120.0)], dim=2)
    return plane.to(torch.uint8).expand(count, -1, -1, -1).contiguous()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("height", "width"), [(24, 20), (8, 8), (1, 5)])
def test_shape_and_type_stay_and_the_input_is_not_changed(kind, height, width):
    images = pictures(height=height, width=width)
    before = images.clone()
    result = augment(images, kind, stream(0, "augment"))
    assert result.shape == images.shape
    assert result.dtype == torch.uint8
    assert torch.equal(images, before)


@RANDOM_KINDS
def test_the_same_stream_gives_the_same_images_and_another_gives_others(kind):
    images = pictures()
    torch.manual_seed(1)
    first = augment(images, kind, stream(0, "augment", "tune", 0, 1))
    torch.manual_seed(2)
    assert torch.equal(augment(images, kind, stream(0, "augment", "tune", 0, 1)), first)
    assert not torch.equal(augment(images, kind, stream(0, "augment", "tune", 0, 2)), first)


@RANDOM_KINDS
def test_global_generators_are_not_touched(kind):
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    augment(pictures(), kind, stream(0, "augment"))
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002


def test_none_gives_the_images_themselves():
    images = pictures()
    assert augment(images, "none", stream(0, "augment")) is images


def test_flip_mirrors_exactly_the_drawn_items_left_to_right():
    images = pictures(64)
    result = augment(images, "flip", stream(3, "augment"))
    flips = draw_flips(64, stream(3, "augment"))
    assert 16 < flips.sum() < 48
    for image, after, flipped in zip(images, result, flips, strict=True):
        assert torch.equal(after, image.flip(1) if flipped else image)


@pytest.mark.parametrize(("kind", "least"), [("light", 12), ("strong", 12)])
def test_items_are_augmented_each_on_its_own(kind, least):
    result = augment(smooth(), kind, stream(0, "augment"))
    assert len({item.numpy().tobytes() for item in result}) >= least


@pytest.mark.parametrize(("kind", "most"), [("light", 45.0), ("strong", 90.0)])
def test_an_augmented_image_is_still_like_the_image_up_to_a_mirroring(kind, most):
    images = smooth(64)
    result = augment(images, kind, stream(1, "augment")).float()
    straight = (result - images.float()).abs().mean(dim=(1, 2, 3))
    mirrored = (result - images.flip(2).float()).abs().mean(dim=(1, 2, 3))
    difference = torch.minimum(straight, mirrored)
    assert float(difference.mean()) < most / 1.5
    assert float(difference.max()) < most


def test_light_shifts_by_at_most_an_eighth_of_the_side():
    images = torch.zeros(200, 32, 32, 3, dtype=torch.uint8)
    images[:, 16, 16] = 255
    result = augment(images, "light", stream(0, "augment"))
    rows, columns = zip(*(divmod(int(item.sum(dim=2).argmax()), 32) for item in result), strict=True)
    assert set(rows) == set(range(12, 21))
    assert set(columns) <= set(range(11, 21))


def test_strong_blanks_a_rectangle_in_about_half_of_the_items():
    images = pictures(200, 32, 32)
    result = augment(images, "strong", stream(0, "augment"))
    blank = 0
    for item in result:
        colours, counts = item.view(-1, 3).unique(dim=0, return_counts=True)
        assert len(colours) > 100
        blank += int(counts.max() >= 36)
    assert 60 < blank < 140


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), mean=st.floats(0, 1), std=st.floats(0.05, 1))
def test_normalise_is_the_formula_to_the_bit(seed, mean, std):
    images = pictures(3, 7, 5, seed=seed)
    means, stds = (mean, 0.456, 0.406), (std, 0.224, 0.225)
    result = normalise(images, means, stds)
    as_float = images.numpy().astype(np.float32) / np.float32(255)
    expected = (as_float - np.float32(means)) / np.float32(stds)
    assert result.dtype == torch.float32
    assert result.is_contiguous()
    assert np.array_equal(result.numpy(), expected.transpose(0, 3, 1, 2))


@RANDOM_KINDS
def test_some_items_of_a_batch_are_augmented_as_they_are_among_all(kind):
    images, places = pictures(), np.array([3, 4, 5, 0, 11])
    whole = augment(images, kind, stream(0, "augment"))
    part = augment(images[places], kind, stream(0, "augment"), part=Part(places, len(images)))
    assert torch.equal(part, whole[places])


def test_mixup_mixes_inputs_and_targets_in_the_same_proportion():
    share, partners = draw_mixup(0.4, 6, stream(0, "mixup"))
    mixed, targets = mixup({"input": torch.eye(6)[:, :, None]}, torch.eye(6), share, partners)
    assert torch.equal(mixed["input"][:, :, 0], targets)
    torch.testing.assert_close(targets.sum(1), torch.ones(6))
    torch.testing.assert_close(targets, share * torch.eye(6) + (1 - share) * torch.eye(6)[partners])


def test_mixup_draws_follow_the_stream():
    share, partners = draw_mixup(0.4, 6, stream(0, "mixup"))
    again, same = draw_mixup(0.4, 6, stream(0, "mixup"))
    other, _ = draw_mixup(0.4, 6, stream(1, "mixup"))
    assert sorted(partners) == list(range(6))
    assert (again, same.tolist()) == (share, partners.tolist())
    assert other != share


def test_mixup_of_whole_numbers_is_refused():
    fields = {"pixels": torch.zeros(2, 3), "tokens": torch.zeros(2, 3, dtype=torch.int64)}
    with pytest.raises(ConfigError, match=r"torch\.int64 in 'tokens'; use mixup: 0"):
        mixup(fields, torch.eye(2), 0.5, np.array([1, 0]))
