"""Models: layer groups, segments, freezing laws, weights and cards."""

import autoft.model.timm_alone  # noqa: F401 - before anything else imports timm

# isort: split
from autoft.model.chain import Chain
from autoft.model.depthwise import quick_gradients
from autoft.model.describe import Description, build_card, describe
from autoft.model.family import FAMILY_DEFAULTS, FamilyDefaults, complete, family_of
from autoft.model.freeze import (
    FreezeGuard,
    FreezePlan,
    apply_plan,
    is_norm,
    named_tensors,
    plan_stage,
    set_eval,
    set_modes,
    state_digest,
    tensor_digest,
    trainable_names,
    unfrozen,
)
from autoft.model.groups import LayerGroup, layer_groups
from autoft.model.inputs import ModelInput, call, model_input
from autoft.model.layout import laid_out, make_ready
from autoft.model.linear_head import LinearHead, linear_head
from autoft.model.load import LoadedModel, load_model
from autoft.model.manner import Manner, halved
from autoft.model.micro import MICRO_BATCH, in_micro_batches, micro_batches, padded, precision
from autoft.model.original import OriginalHead, original_head
from autoft.model.rebuild import rebuilt
from autoft.model.sync_norms import synchronise

__all__ = [
    "FAMILY_DEFAULTS",
    "MICRO_BATCH",
    "Chain",
    "Description",
    "FamilyDefaults",
    "FreezeGuard",
    "FreezePlan",
    "LayerGroup",
    "LinearHead",
    "LoadedModel",
    "Manner",
    "ModelInput",
    "OriginalHead",
    "apply_plan",
    "build_card",
    "call",
    "complete",
    "describe",
    "family_of",
    "halved",
    "in_micro_batches",
    "is_norm",
    "laid_out",
    "layer_groups",
    "linear_head",
    "load_model",
    "make_ready",
    "micro_batches",
    "model_input",
    "named_tensors",
    "original_head",
    "padded",
    "plan_stage",
    "precision",
    "quick_gradients",
    "rebuilt",
    "set_eval",
    "set_modes",
    "state_digest",
    "synchronise",
    "tensor_digest",
    "trainable_names",
    "unfrozen",
]
