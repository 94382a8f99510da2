"""Warm start: the best recipes of an earlier search, carried over into this one's model and search space."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from autoft.errors import AutoftError, UnknownNameError, near
from autoft.model import complete, plan_stage
from autoft.model.freeze import Grouped
from autoft.recipe import Recipe, Stage
from autoft.remote import bare, is_url, joined
from autoft.space import Entry, SearchSpace
from autoft.space.portfolio import drawable, within
from autoft.study import EarlierStudy, kept_url, read_study, sqlite_url
from autoft.tuner.config import SearchConfig
from autoft.tuner.place import read_folder
from autoft.tuner.portfolio import Named
from autoft.tuner.run_folder import RunFolder

DEPTH = "depth"
"""Where a study keeps how many groups its model has below the head."""
_RECIPES = 3
_OF_A_STAGE = ("head_lr", "layer_decay", "weight_decay", "drop_rate", "schedule", "norm")
_OF_ALL: Mapping[str, tuple[str, ...]] = {
    "model": ("drop_rate", "drop_path_rate"),
    "optimisation": ("opt", "weight_decay", "label_smoothing", "mixup", "ema_decay"),
    "data": ("batch_size", "augment", "views", "class_weights", "sampler"),
}


def earlier_study(config: SearchConfig) -> EarlierStudy | None:
    """The study that ``search.warm_start`` names: a run beside this one, a run's path, or a study of its storage.

    Raises:
        UnknownNameError: neither a run nor a study.
        StorageError: its database refuses.
    """
    named, storage = config.search.warm_start, config.search.storage
    if named is None:
        return None
    root = config.output.storage_path
    for folder in _named(root, named):
        if folder.exists:
            url = folder.read_config().search.storage
            if url is None:
                return read_study(sqlite_url(folder.database.resolve()), folder.study)
            if storage and kept_url(storage) == kept_url(url):  # the run's file has no password
                url = storage
            return read_study(url, folder.name)
    if storage:
        try:
            return read_study(storage, named)
        except UnknownNameError as error:
            raise UnknownNameError(f"search.warm_start: {error}") from None
    known = [] if is_url(root) else sorted(path.parent.name for path in Path(root).glob("*/search.yaml"))
    raise UnknownNameError(
        f"search.warm_start: {bare(named)!r} is neither a run in {bare(root)} nor the path of one{near(named, known)}; "
        f"there are: {', '.join(known) or 'none'}"
    )


def _named(root: str, named: str) -> Iterator[RunFolder]:
    """The runs that a name may mean: one beside this one, a path or a URL."""
    if is_url(named):
        yield read_folder(named)
        return
    yield read_folder(joined(root, named)) if is_url(root) else RunFolder(Path(root) / named)
    yield RunFolder(Path(named))


def carried_over(
    earlier: EarlierStudy, base: Recipe, model: Grouped, space: SearchSpace, *, notify: Callable[[str], None]
) -> tuple[Named, ...]:
    """The earlier study's best recipes as this search could have drawn them, best first.

    Stages are matched by their place from the end, depths by their share of the model's groups. What the space does
    not search stays as in the base recipe; a recipe whose depth or rate it does not have is left out.
    """
    best = earlier.best(_RECIPES)
    found: list[Named] = []
    for record in best:
        recipe = Recipe.parse(record.proposal.recipe, where=f"{earlier.name}: trial {record.number}")
        depth = _depth_before(earlier, recipe, base, model)
        if depth is None:
            notify(f"warm start: {earlier.name} is of another model, {recipe.model.name}, and older than this can map")
            return ()
        if made := _mapped(recipe, depth, base, model, space):
            found.append((f"{earlier.name}-{record.number}", complete(made, model.card)))
    if len(found) < len(best) or not best:
        notify(f"warm start: of {len(best)} recipes of {earlier.name} {len(found)} fit into this search space")
    return tuple(found)


def _depth_before(earlier: EarlierStudy, recipe: Recipe, base: Recipe, model: Grouped) -> int | None:
    if recipe.model.name == base.model.name and recipe.model.groups == base.model.groups:
        return model.card.depth
    depth: int | None = earlier.meta.get(DEPTH)
    return depth


def _mapped(recipe: Recipe, depth: int, base: Recipe, model: Grouped, space: SearchSpace) -> Recipe | None:
    """The recipe as a whole where depths are the same, else what of it has a place here."""
    settings = dict(_settings(recipe))
    if depth == model.card.depth:
        stages = [stage.model_dump(mode="json", exclude_none=True) for stage in recipe.stages]
        if whole := drawable(space, base, {**settings, "stages": stages}):
            return whole
    groups = _groups(recipe.stages[-1], depth, model)
    if groups is None:
        return None
    tune = recipe.stages[-1]
    needed: dict[str, Any] = {} if tune.lr is None or not groups else {"stages.tune.lr": tune.lr}
    if recipe.optimisation.opt != base.optimisation.opt:
        needed["optimisation.opt"] = settings.pop("optimisation.opt")
    of_stages = dict(_of_stage("tune", tune))
    if len(recipe.stages) > 1:
        of_stages |= dict(_of_stage("head", recipe.stages[-2]))
    entry = Entry(depth=groups, settings=needed, where_searched={**settings, **of_stages})
    return within(space, base, entry, model.card)


def _groups(stage: Stage, depth: int, model: Grouped) -> int | None:
    """How many top groups the stage would train here; None where that cannot be said."""
    match stage.unfreeze:
        case "all":
            return model.card.depth
        case bool():
            return None
        case int(count):
            return min(model.card.depth, max(min(count, 1), round(count * model.card.depth / max(1, depth))))
        case _:
            try:
                return len(plan_stage(stage, model).trainable) - 1
            except AutoftError:  # names of another model's groups
                return None


def _settings(recipe: Recipe) -> Iterator[tuple[str, Any]]:
    for section, keys in _OF_ALL.items():
        part = getattr(recipe, section)
        yield from ((f"{section}.{key}", getattr(part, key)) for key in keys)


def _of_stage(name: str, stage: Stage) -> Iterator[tuple[str, Any]]:
    for key in _OF_A_STAGE:
        if (value := getattr(stage, key)) is not None:
            yield f"stages.{name}.{key}", value
