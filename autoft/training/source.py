"""Where a stage's tail gets its rows from: computed from the items by the prefix, or read from a cache of activations.

Both give the same bits on the CPU; which one it is decides nothing but the time it takes.
"""

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

from torch import Tensor

from autoft.cache import Activations
from autoft.data import DataHandle
from autoft.data.augment import augment, mixup
from autoft.data.inputs import as_inputs
from autoft.data.metrics import Array
from autoft.data.variants import Variant, drawn, variants_of
from autoft.model import laid_out, padded
from autoft.recipe import Recipe
from autoft.record import ModelCard
from autoft.training.forward import Forward, Inputs
from autoft.training.moment import Moment

Rows: TypeAlias = Tensor | Inputs


class Source(Protocol):
    """Rows at a stage's boundary, for the items of a batch."""

    @property
    def name(self) -> str:
        """The group after which activations are read; empty where they are computed."""
        ...

    def read(self, indices: Array, moment: Moment) -> Any:
        """What `rows` needs of a training batch; called in another thread."""
        ...

    def rows(self, found: Any, targets: Tensor, moment: Moment) -> tuple[Rows, Tensor]:
        """The activation at the boundary, augmented and mixed, with its targets, of the rank's own items.

        The model must be in its modes for training.
        """
        ...

    def look(self, indices: Array) -> Any:
        """What `hidden` needs of items to be evaluated; called in another thread."""
        ...

    def hidden(self, found: Any) -> Rows:
        """The activation at the boundary of items to be evaluated; the model must be in eval mode."""
        ...

    def saved_s(self, size: int) -> float:
        """Predicted seconds of computing that reading a batch of so many items saves."""
        ...


class Pixels:
    """Computes the rows from the items themselves."""

    name = ""

    def __init__(self, recipe: Recipe | None, data: DataHandle, card: ModelCard, forward: Forward) -> None:
        self._recipe, self._data, self._card, self._forward = recipe, data, card, forward
        self._views = variants_of(recipe.data, recipe.seed) if recipe and recipe.data.views != "fresh" else None

    def read(self, indices: Array, moment: Moment) -> Inputs:
        """Decoded items, or the views of them that this step takes."""
        found = self._data.read(indices)
        if self._views is None:
            return found
        assert self._recipe is not None
        return drawn(found, indices, self._views, _choice(self._recipe, self._views, moment))

    def rows(self, found: Inputs, targets: Tensor, moment: Moment) -> tuple[Rows, Tensor]:
        """Augmented, normalised, run through the prefix, and mixed before or after it."""
        assert self._recipe is not None
        recipe, moved = self._recipe, self._moved(found)
        if self._data.spec.image and self._views is None:
            moved = {name: self._augmented(field, moment) for name, field in moved.items()}
        inputs = self._inputs(moved)
        if recipe.optimisation.mixup_at == "boundary" and self._forward.boundary > 0:
            return _mixed(recipe, self._data, self._forward.prefix(inputs), targets, moment)
        mixed, targets = _mixed(recipe, self._data, inputs, targets, moment)
        assert not isinstance(mixed, Tensor)
        last = self._forward.manner.channels_last
        laid = {name: laid_out(field, channels_last=last) for name, field in mixed.items()}
        return self._forward.prefix(laid), targets

    def _augmented(self, images: Tensor, moment: Moment) -> Tensor:
        """Afresh."""
        assert self._recipe is not None
        rng = moment.stream(self._recipe.seed, "augment")
        return augment(images, self._recipe.data.augment, rng, part=moment.part)

    def look(self, indices: Array) -> Inputs:
        """Decoded items."""
        return self._data.read(indices)

    def hidden(self, found: Inputs) -> Rows:
        """Run the prefix."""
        return self._forward.prefix(self._inputs(self._moved(found)))

    def saved_s(self, size: int) -> float:  # noqa: ARG002 - the seam's
        """Nothing."""
        return 0.0

    def _inputs(self, fields: Inputs) -> Inputs:
        return as_inputs(fields, self._data, self._card, channels_last=self._forward.manner.channels_last)

    def _moved(self, fields: Inputs) -> Inputs:
        return {name: field.to(self._forward.device) for name, field in fields.items()}


class Cached:
    """Reads the rows from a cache: of an item, its mirror image, or one of its views."""

    def __init__(self, recipe: Recipe | None, data: DataHandle, activations: Activations, forward: Forward) -> None:
        self._recipe, self._data, self._activations, self._forward = recipe, data, activations, forward
        self._variants = variants_to_keep(recipe) if recipe else ()
        self.name = activations.name

    def read(self, indices: Array, moment: Moment) -> Tensor:
        """Rows at the boundary."""
        assert self._recipe is not None
        choice = _choice(self._recipe, self._variants, moment)
        return self._activations.read(indices, self._variants, choice)

    def rows(self, found: Tensor, targets: Tensor, moment: Moment) -> tuple[Rows, Tensor]:
        """The rows on the device, mixed where the recipe mixes activations."""
        assert self._recipe is not None
        return _mixed(self._recipe, self._data, found.to(self._forward.device), targets, moment)

    def look(self, indices: Array) -> Tensor:
        """Rows at the boundary."""
        return self._activations.read(indices)

    def hidden(self, found: Tensor) -> Rows:
        """The rows on the device."""
        return found.to(self._forward.device)

    def saved_s(self, size: int) -> float:
        """The prefix computes whole micro-batches."""
        return padded(size) * self._activations.row_s


def variants_to_keep(recipe: Recipe) -> tuple[Variant, ...]:
    """The images per item that enter the prefix in training; none where they are not the same few in every epoch."""
    optimisation = recipe.optimisation
    if optimisation.mixup > 0 and optimisation.mixup_at == "input":
        return ()
    return variants_of(recipe.data, recipe.seed) or ()


def can_train_from_cache(recipe: Recipe) -> bool:
    """Whether what enters the prefix in training is one of few images per item."""
    return bool(variants_to_keep(recipe))


def _choice(recipe: Recipe, variants: Sequence[Variant], moment: Moment) -> Array:
    """The variant of each item of a batch."""
    return moment.choice(variants, recipe.seed, "augment" if recipe.data.views == "fresh" else "view")


def _mixed(recipe: Recipe, data: DataHandle, rows: Rows, targets: Tensor, moment: Moment) -> tuple[Rows, Tensor]:
    """Mixed, if the recipe mixes: pixels, or rows at a boundary."""
    alpha = recipe.optimisation.mixup
    if alpha == 0:
        return rows, targets
    fields = {"rows": rows} if isinstance(rows, Tensor) else rows
    mixed, shares = mixup(fields, data.task.distribution(targets), *moment.mixing(alpha, recipe.seed))
    return (mixed["rows"] if isinstance(rows, Tensor) else mixed), shares
