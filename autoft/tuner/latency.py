"""How long one item takes through the whole model on this machine."""

import time
from collections.abc import Callable

import numpy as np
import torch

from autoft.data.inputs import as_inputs
from autoft.model import call, make_ready, model_input, set_eval
from autoft.study import Ledger
from autoft.tuner.prepare import Ground

LATENCY = "latency_ms"
"""Where a study keeps it: a resumed search must not find other recipes too slow."""
_PASSES = 20
_LONGEST_S = 3.0
"""Of all passes together; where they take longer, fewer must do."""


@torch.inference_mode()
def latency_ms(ground: Ground, device: str, *, now: Callable[[], float] = time.perf_counter) -> float:
    """Milliseconds of a pass of one item, in evaluation, by all threads that torch has.

    It is the fastest pass of several: what others do on the machine at the same time is not the model's. It is the same
    for all recipes of a search: they differ in what is trained, not in the model or the image's size.
    """
    loaded, where = ground.loaded.reset(), torch.device(device)
    channels_last = ground.recipe.optimisation.memory_format == "channels_last"
    set_eval(loaded)
    make_ready(loaded.module, where, channels_last=channels_last)
    fields = {name: field.to(where) for name, field in ground.data.read(np.arange(1)).items()}
    x = model_input(as_inputs(fields, ground.data, loaded.card, channels_last=channels_last))
    began, seconds = now(), list[float]()
    for _ in range(_PASSES):
        started = now()
        call(loaded.module, x)
        if where.type == "cuda":
            torch.cuda.synchronize(where)
        seconds.append(now() - started)
        if seconds[-1] + now() - began > _LONGEST_S:
            break
    return 1000 * min(seconds)


def kept_latency(ledger: Ledger, ground: Ground, device: str) -> float:
    """What the study has, else what is measured now and kept in it."""
    kept = ledger.meta().get(LATENCY)
    if kept is None:
        kept = round(latency_ms(ground, device), 3)
        ledger.set_meta(LATENCY, kept)
    return float(kept)
