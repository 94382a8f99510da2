"""Trials trained by several processes: started from one that has torch loaded, so that a rank costs no import."""

import multiprocessing
import os
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from freezing_models import base
from reuse_runs import data_of, recipe_of

from autoft.model import named_tensors
from autoft.training import StagedTrainer
from autoft.training.checkpoint import best_average
from autoft.training.ranks import Ranks, is_lost_connection, leave

CONTEXT = multiprocessing.get_context("forkserver")
RATES = {"lr": 1e-2, "head_lr": 1e-2}
CONTEXT.set_forkserver_preload(["timm", "autoft.model.load", "autoft.training.trainer", "autoft.training.gradients"])


def together(world: int, run: Any, *given: Any, patience_s: float = 120.0) -> list[Any]:
    """What ``run(ranks, *given)`` returns on each rank; an exception comes back as its text."""
    with tempfile.TemporaryDirectory() as folder:
        told = CONTEXT.Queue()
        meeting = str(Path(folder) / "store")
        processes = [
            CONTEXT.Process(target=_rank, args=(rank, world, meeting, told, run, given), daemon=True)
            for rank in range(world)
        ]
        for process in processes:
            process.start()
        found: dict[int, Any] = {}
        end = time.monotonic() + patience_s
        try:
            while len(found) < world and time.monotonic() < end:
                if told.empty():
                    if not any(process.is_alive() for process in processes):
                        time.sleep(0.2)
                        if told.empty():
                            break
                    time.sleep(0.01)
                    continue
                rank, result = told.get()
                found[rank] = result
        finally:
            for process in processes:
                process.kill()
                process.join()
        return [found.get(rank) for rank in range(world)]


def _rank(rank: int, world: int, meeting: str, told: Any, run: Any, given: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=world)
    try:
        told.put((rank, run(Ranks(rank, world, call=_call), *given)))
    except Exception:  # noqa: BLE001 - carried to the test
        told.put((rank, traceback.format_exc()))
    told.close()
    told.join_thread()
    os._exit(0)


@contextmanager
def _call() -> Iterator[None]:
    dist.broadcast(torch.tensor([1]), 0)
    yield


def _called() -> bool:
    word = torch.zeros(1, dtype=torch.int64)
    dist.broadcast(word, 0)
    return bool(word)


def lead(ranks: Ranks, trainer: StagedTrainer, *, evaluations: int | None = None) -> None:
    """Train on rank 0 while the others follow, to the end or so far."""
    if ranks.rank == 0:
        while (evaluations is None or len(trainer.curve) < evaluations) and trainer.advance():
            pass
        if not ranks.alone:
            dist.broadcast(torch.tensor([0]), 0)
    else:
        while _called():
            trainer.follow()


def trainer_of(
    ranks: Ranks, stages: list[dict[str, Any]], *, model: str = "hand-written", train: int = 20, **more: Any
) -> tuple[StagedTrainer, Any]:
    """A trainer of a freezing model without dropout on noise images, and the model."""
    micro_batch, batch, beside = more.pop("micro_batch", None), more.pop("batch", 8), more.pop("beside", None)
    loaded = base(model).reset(drop_rate=0.0, drop_path_rate=0.0)
    for module in loaded.module.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    side = 16 if model == "hand-written" else 32
    recipe = recipe_of(batch_size=batch, **more)
    recipe = recipe.model_validate({**recipe.full(), "stages": [{**RATES, **stage} for stage in stages]})
    data = data_of(side, train=train)
    objective = data.task.objective(None)
    trainer = StagedTrainer(
        recipe, loaded, data, objective, ranks=ranks, fits=lambda _depth: micro_batch, beside=beside
    )
    return trainer, loaded


def weights(trainer: StagedTrainer, loaded: Any) -> dict[str, torch.Tensor]:
    """Of the model as it is, copied."""
    assert trainer.recipe
    return {name: tensor.detach().clone().numpy() for name, tensor in named_tensors(loaded.module).items()}


def losses(ranks: Ranks, stages: list[dict[str, Any]], settings: dict[str, Any]) -> Any:
    """What each evaluation saw."""
    trainer, _ = trainer_of(ranks, stages, **settings)
    lead(ranks, trainer)
    return [(e.step, e.train_loss, e.val_loss) for e in trainer.curve]


def kept_average(ranks: Ranks, stages: list[dict[str, Any]], settings: dict[str, Any], folder: str) -> Any:
    """The average that the trial kept beside its best weights."""
    trainer, _ = trainer_of(ranks, stages, **settings)
    lead(ranks, trainer)
    if ranks.rank > 0:
        return None
    trainer.save(Path(folder))
    return {name: tensor.numpy() for name, tensor in (best_average(Path(folder)) or {}).items()}


def unfinished(ranks: Ranks, stages: list[dict[str, Any]], settings: dict[str, Any], evaluations: int) -> Any:
    """The weights of each rank while the training rests."""
    trainer, loaded = trainer_of(ranks, stages, **settings)
    lead(ranks, trainer, evaluations=evaluations)
    return weights(trainer, loaded)


def resumed(ranks: Ranks, stages: list[dict[str, Any]], settings: dict[str, Any], folder: str) -> Any:
    """The curve of a trial that was interrupted after two evaluations and taken up by fresh trainers."""
    trainer, _ = trainer_of(ranks, stages, **settings)
    lead(ranks, trainer, evaluations=2)
    if ranks.rank == 0:
        trainer.save(Path(folder))
    trainer, _ = trainer_of(ranks, stages, **settings)
    if ranks.rank == 0:
        assert trainer.restore(Path(folder))
    lead(ranks, trainer)
    return [(e.step, e.train_loss, e.val_loss) for e in trainer.curve]


def poisoned(ranks: Ranks, stages: list[dict[str, Any]], settings: dict[str, Any], rank: int) -> Any:
    """The curve where the images that one rank reads in training are no numbers, and when each rank was through."""
    trainer, loaded = trainer_of(ranks, stages, **settings)
    if ranks.rank == rank:
        first = next(iter(named_tensors(loaded.module)))
        loaded.module.get_parameter(first).register_hook(lambda gradient: gradient * float("nan"))
    lead(ranks, trainer)
    return [e.diverged for e in trainer.curve], time.time()


def read_items(ranks: Ranks, stages: list[dict[str, Any]], settings: dict[str, Any]) -> Any:
    """The items that this rank trained on, in order, and those it evaluated."""
    from autoft.training import gradients, tail  # noqa: PLC0415 - to be watched

    trained, evaluated = [], []
    take, outputs_of = gradients.Gradients.take, tail.outputs_of

    def watched(self: Any, batch: Any) -> float:
        trained.append((batch.moment.epoch, batch.moment.step, batch.targets[: batch.size].tolist()))
        return take(self, batch)

    def looked(source: Any, forward: Any, indices: Any) -> Any:
        evaluated.append(indices.tolist())
        return outputs_of(source, forward, indices)

    gradients.Gradients.take, tail.outputs_of = watched, looked
    trainer, _ = trainer_of(ranks, stages, **settings)
    lead(ranks, trainer)
    return trained, evaluated


def failing(ranks: Ranks, stages: list[dict[str, Any]], settings: dict[str, Any], rank: int, how: str) -> Any:
    """One rank dies or fails in its third step; what each of the others has heard."""
    trainer, _ = trainer_of(ranks, stages, **settings)
    if ranks.rank == rank:
        trainer._feed.batches = _failing(trainer._feed.batches, iter(range(3)), how)
    try:
        lead(ranks, trainer)
    except (RuntimeError, ValueError) as error:
        leave()
        return type(error).__name__, is_lost_connection(error)
    return None


def _failing(batches: Any, steps: Any, how: str) -> Any:
    def mortal(*args: Any, **more: Any) -> Any:
        for batch in batches(*args, **more):
            if next(steps, None) is None:
                if how == "dies":
                    os._exit(1)
                raise ValueError("cannot read")
            yield batch

    return mortal
