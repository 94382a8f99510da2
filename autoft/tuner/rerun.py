"""What to run to get a trial's best evaluation again."""

from collections.abc import Mapping

from autoft.recipe import Provenance, Recipe
from autoft.record import Objective, TrialRecord
from autoft.training import as_run


def rerun_of(
    record: TrialRecord,
    objective: Objective,
    *,
    search: str | None,
    data_fingerprint: str,
    threads: int,
    versions: Mapping[str, str],
) -> Recipe:
    """The trial's recipe as run, with its provenance.

    Args:
        record: of a trial with a best evaluation.
        objective: by which it is the best.
        search: name of the run.
        data_fingerprint: of the run's data.
        threads: of torch that trials were trained with.
        versions: of what results depend on.
    """
    recipe = Recipe.parse(record.proposal.recipe, where=f"trial {record.number}")
    best = record.best(objective)
    assert best is not None, "the caller has looked"
    run = as_run(recipe, record.curve, objective)
    stages = {stage.name for stage in run.stages}
    provenance = Provenance(
        search=search,
        trial=record.number,
        metric=objective.metric,
        value=best.value,
        data_fingerprint=data_fingerprint,
        threads=threads,
        workers=max(evaluation.workers for evaluation in record.curve if evaluation.stage in stages),
        versions=dict(versions),
    )
    return run.model_copy(update={"provenance": provenance})
