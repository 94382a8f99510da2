"""Opening data: list, check, decode once, split."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoft.data.decode import DECODER_VERSION, Frame
from autoft.data.handle import DataHandle
from autoft.data.items import Items, keep
from autoft.data.labels import Targets, read_labels
from autoft.data.notes import check_classes, check_none_lost, class_notes, copy_notes, split_notes, usable_items
from autoft.data.sources import Listing, Source, list_items
from autoft.data.sources.listing import check_given, digest
from autoft.data.splits import Plan, Population, draw_splits
from autoft.data.task import Task, regression_task
from autoft.errors import ConfigError
from autoft.recipe import DataConfig
from autoft.record import InputSpec
from autoft.shards import ShardStore


def ignore(_sentence: str) -> None:
    """Tell nobody."""


def open_data(
    source: Source,
    config: DataConfig,
    *,
    seed: int,
    store: ShardStore,
    notify: Callable[[str], None] = ignore,
) -> DataHandle:
    """Make data ready to be read by any number of trials.

    Args:
        source: image folder, CSV or parquet manifest, .npz file, name of a built-in data set, or a pair (train, val) or
            triple (train, val, test) of map-style torch Datasets of (input, target).
        config: task, image size (needed for images), splits, what may be corrupt.
        seed: draws the splits unless ``config.split_seed`` does.
        store: where decoded items are kept.
        notify: told in a sentence what takes long; what should be known of the data is in ``notes``.

    Raises:
        DataError: the data cannot be used as they are.
        UnknownNameError: neither a path nor a built-in data set.
        StorageError: the disk refuses.
    """
    frame = None if config.image_size is None else Frame(config.image_size, config.resize)
    plan = Plan(seed if config.split_seed is None else config.split_seed, config.val_fraction, config.test_fraction)
    listing = list_items(source, frame, kind=config.task, store=store)
    check_given(listing)
    targets = read_labels(listing, config.task)
    check_classes(listing, targets, config.task, plan)
    if config.augment != "none" and not listing.origin.image:
        raise ConfigError(f"data.augment: {config.augment} needs images, but {listing.name} holds tensors; use none")
    items, readable = keep(listing.origin, listing.names, _key(listing, frame), store, notify=notify)
    usable, lost = usable_items(listing, readable, config.allow_corrupt_fraction)
    found = fingerprint(listing, targets, config.task)
    chosen = _only(_Chosen(listing, targets, items), usable)
    if config.task == "single_label":
        check_none_lost(listing.name, targets, chosen.targets)
    handle = _handle(chosen, config, plan, fingerprint=found, lost=lost)
    return replace(handle, content=digest(_key(listing, frame).encode(), usable.tobytes()).hex())


@dataclass(frozen=True)
class _Chosen:
    """The items that are used."""

    listing: Listing
    targets: Targets
    items: Items


def _only(every: _Chosen, usable: NDArray[np.int64]) -> _Chosen:
    """The usable ones of every item."""
    if len(usable) == len(every.listing.names):
        return every
    listing = every.listing
    fewer = replace(
        listing,
        names=tuple(listing.names[index] for index in usable),
        labels=listing.labels[usable],
        digests=tuple(listing.digests[index] for index in usable),
        given=None if listing.given is None else listing.given[usable],
        groups=None if listing.groups is None else listing.groups[usable],
        rows=None if listing.rows is None else listing.rows[usable],
    )
    return _Chosen(fewer, replace(every.targets, values=every.targets.values[usable]), every.items.only(usable))


def _handle(chosen: _Chosen, config: DataConfig, plan: Plan, *, fingerprint: str, lost: list[str]) -> DataHandle:
    listing, targets, kind = chosen.listing, chosen.targets, config.task
    values, classes = targets.values, targets.classes
    check_classes(listing, targets, kind, plan)
    population = Population(
        listing.names,
        fingerprint,
        strata=Task(kind, classes).strata(values),
        ordered=kind == "regression",
        given=listing.given,
        groups=listing.groups,
        labels=values if kind == "multi_label" else None,
    )
    splits = draw_splits(population, plan)
    notes = [
        *listing.notes,
        *targets.notes,
        *lost,
        *class_notes(values, classes, kind),
        *copy_notes(listing, splits),
        *split_notes(splits, values, classes, kind),
    ]
    return DataHandle(
        name=listing.name,
        fingerprint=fingerprint,
        task=regression_task(values[splits.train]) if kind == "regression" else Task(kind, classes),
        spec=InputSpec(dict(listing.origin.fields), image=listing.origin.image),
        targets=values,
        splits=splits,
        groups=listing.groups,
        notes=tuple(notes),
        items=chosen.items,
    )


def _key(listing: Listing, frame: Frame | None) -> str:
    """Names decoded content: the digests in order, and for images how they are decoded."""
    content = digest(*listing.digests).hex()
    if listing.origin.image and frame is not None:
        return f"pixels-{content}-{frame.size}-{frame.resize}-{DECODER_VERSION}"
    return f"tensors-{content}"


def fingerprint(listing: Listing, targets: Targets, kind: str) -> str:
    """Names items with their content, labels, groups and given splits."""
    parts: list[Any] = [kind, *targets.classes, targets.values.shape, "", *listing.names, *listing.digests, "given"]
    parts += [] if listing.given is None else listing.given.tolist()
    parts += ["groups"] + ([] if listing.groups is None else listing.groups.tolist())
    encoded = (part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogateescape") for part in parts)
    return digest(*encoded, np.ascontiguousarray(targets.values).tobytes()).hex()[:16]
