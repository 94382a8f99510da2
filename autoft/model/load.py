"""Loading a model for a task: weights, head, groups, segments and card, ready to be frozen stage by stage."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor, nn

from autoft.errors import ModelError
from autoft.model.base import Base, rest
from autoft.model.cards import Origin, make_card
from autoft.model.chain import Chain
from autoft.model.cut import cut_model, recut
from autoft.model.freeze import state_digest
from autoft.model.groups import LayerGroup, find_groups, homes_of
from autoft.model.head import head_names, head_width, renew_head
from autoft.model.inputs import ModelInput, example_images, model_input
from autoft.model.linear_head import LinearHead, linear_head
from autoft.model.source import own_model, timm_model
from autoft.model.trace import Trace, watch
from autoft.recipe import ModelConfig
from autoft.record import ModelCard


@dataclass(frozen=True)
class LoadedModel:
    """A model for a task, on the CPU and in eval mode until a plan is applied to it."""

    module: nn.Module
    card: ModelCard
    groups: tuple[LayerGroup, ...]
    """From input to head, the head last."""
    chain: Chain
    digest: str
    """Of the parameters and buffers below the head, as loaded."""
    homes: Mapping[str, frozenset[int]]
    """Indices of the groups of every module."""
    fixed: frozenset[str]
    """Parameters that timm never trains, such as sine position embeddings."""
    config: ModelConfig
    seed: int
    notes: tuple[str, ...]
    """What a user should know about where the weights come from."""
    base: Base = field(repr=False)
    head: LinearHead | None = None
    """Where the head is one linear layer; else None."""

    def reset(
        self, *, drop_rate: float | None = None, drop_path_rate: float | None = None, seed: int | None = None
    ) -> "LoadedModel":
        """A fresh model, bitwise as `load_model` gives it, from the base kept in memory: nothing trained remains.

        Args:
            drop_rate: default: as it was.
            drop_path_rate: default: as it was.
            seed: of a new head (and of random weights); default: as it was.

        Raises:
            ModelError: the model has no such drop rate.
        """
        rates = {"drop_rate": drop_rate, "drop_path_rate": drop_path_rate}
        changes = {key: rate for key, rate in rates.items() if rate is not None}
        config = ModelConfig.parse({**self.config.plain(), **changes}, where="model")
        base, seed = self.base, self.seed if seed is None else seed
        if seed != base.seed and base.origin.weights == "random":
            return load_model(config, num_outputs=base.num_outputs, seed=seed, image_size=base.image_size)
        module = base.fresh(config, seed)
        homes = homes_of(module, self.groups, base.order)
        chain = recut(self.chain, module, self.groups, homes)
        return replace(self, module=module, homes=homes, chain=chain, config=config, seed=seed)


def load_model(
    config: ModelConfig,
    *,
    num_outputs: int,
    module: nn.Module | None = None,
    example: Mapping[str, Tensor] | None = None,
    seed: int = 0,
    image_size: int | None = None,
) -> LoadedModel:
    """Load a timm model, or make a module of one's own ready.

    The head is made anew, drawn from (seed, "head"), unless the weights have one of ``num_outputs``.

    Args:
        config: name, weights, drop rates, groups.
        num_outputs: width of the head.
        module: one's own; it is copied, never changed. Its ``requires_grad`` flags do not matter.
        example: fields of a batch of two, as the module gets them (images normalised); a single field ``input`` goes
            in as a tensor. Needed to cut a module of one's own into segments and to measure its cost.
        seed: of everything that is drawn.
        image_size: side in pixels; default: the model's own.

    Raises:
        UnknownNameError: no such model.
        WeightsError: the weights cannot be had, or do not fit.
        ModelError: the model has no head, or does not run on such input.
    """
    x = model_input(example) if example is not None else None
    if module is not None:
        model, origin = own_model(config, module, x)
    else:
        model, origin = timm_model(config, num_outputs=num_outputs, seed=seed, image_size=image_size)
        x = x if x is not None else model_input(example_images(image_size or origin.image_size))
    fixed = frozenset(name for name, parameter in model.named_parameters() if not parameter.requires_grad)
    new_head = _prepare_head(model, config, origin, x, num_outputs, seed)
    traced = watch(config.name, model, x) if x is not None else Trace(None, ())
    base = Base(
        module=model,
        config=config,
        own=module is not None,
        num_outputs=num_outputs,
        seed=seed,
        image_size=image_size,
        order=traced.order,
        new_head=new_head,
        origin=origin,
    )
    return _assemble(base, fixed, x, traced)


def _assemble(base: Base, fixed: frozenset[str], x: ModelInput | None, traced: Trace) -> LoadedModel:
    config, model = base.config, base.module
    expected = _checked(config.name, traced.output, base.num_outputs) if x is not None else None
    grouping = find_groups(model, config.groups, base.order)
    homes = homes_of(model, grouping.groups, base.order)
    loaded = LoadedModel(
        module=model,
        card=make_card(config.name, model, grouping, homes, traced.multiply_adds, base.origin),
        groups=grouping.groups,
        chain=cut_model(model, grouping.groups, homes, x, expected, known=not base.own),
        digest=state_digest(model, grouping.groups[:-1]),
        homes=homes,
        fixed=fixed,
        config=config,
        seed=base.seed,
        notes=base.origin.notes,
        base=base,
    )
    fresh = loaded.reset()
    return replace(fresh, head=linear_head(fresh))


def _prepare_head(
    model: nn.Module, config: ModelConfig, origin: Origin, x: ModelInput | None, num_outputs: int, seed: int
) -> bool:
    """Give the model a head of ``num_outputs`` unless it came with one; says whether it is new."""
    rest(model)
    named = callable(getattr(model, "get_classifier", None))
    order = () if named or x is None else watch(config.name, model, x).order
    names = head_names(model, order)
    if origin.head_loaded and head_width(model, names) == num_outputs:
        return False
    renew_head(model, names, num_outputs, seed)
    rest(model)
    return True


def _checked(name: str, output: object, num_outputs: int) -> Tensor:
    if not isinstance(output, Tensor):
        raise ModelError(f"{name}: forward() must return a tensor, got {type(output).__name__}; wrap it in a module")
    width = output.shape[1] if output.dim() == 2 else 1 if output.dim() == 1 else None
    if width != num_outputs:
        raise ModelError(
            f"{name}: forward() must return (batch, {num_outputs}), got {tuple(output.shape)}; "
            "the head must be its last layer"
        )
    return output
