"""Handing a search to a cluster: checked here, then packed and sent."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from autoft.data import BUILT_IN
from autoft.errors import ConfigError, DetachedError
from autoft.jobs.access import access_to
from autoft.jobs.job import new_id
from autoft.jobs.order import ENTRYPOINT, Order, check_versions, versions
from autoft.jobs.package import packaged
from autoft.jobs.submission import Submission, connected
from autoft.jobs.submitter import Submitter
from autoft.jobs.watch import raise_unless_successful, wait_until_taken
from autoft.recipe import parse_assignment
from autoft.remote import bare, is_url
from autoft.study import kept_url
from autoft.tuner.config import PLAIN_NAME, PLAIN_TOLD, SearchConfig, resolve_config
from autoft.tuner.prepare import check_before_spending
from autoft.tuner.run_folder import default_name

START_TIMEOUT_S = 300.0


def submit(  # noqa: PLR0913 - the options of a search, and of its way there
    model: str | None = None,
    data: str | Path | None = None,
    *,
    config: str | Path | None = None,
    space: str | Mapping[str, Any] | None = None,
    num_samples: int | None = None,
    time_budget_s: float | None = None,
    metric: str | None = None,
    name: str | None = None,
    storage_path: str | Path | None = None,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    address: str | None = None,
    working_dir: str | Path | None = None,
    start_timeout_s: float = START_TIMEOUT_S,
    other_versions: bool = False,
    submitter: Submitter | None = None,
    notify: Callable[[str], None] = lambda _sentence: None,
) -> Submission:
    """Hand a search to a Ray cluster; it is checked here before anything is sent.

    A search of the same name and storage path goes on where it stopped. What `search` has too means the same.

    Args:
        model: the name of a timm model.
        data: as the cluster sees them: an absolute path, a built-in name, or a path in ``working_dir``.
        config: a search.yaml; what is given here beside it wins.
        space: the name of a shipped space, a YAML file, or a mapping as in search.yaml.
        num_samples: recipes to try, baselines included.
        time_budget_s: seconds from the start of the job to the written recipe.
        metric: what decides.
        name: of the run.
        storage_path: the folder of all runs on the cluster, for several nodes one that all share; a relative one begins
            in the home folder of who runs the cluster. Or its URL, as in ``s3://bucket/runs``.
        overrides: dotted overrides.
        address: of the cluster's dashboard; default: RAY_API_SERVER_ADDRESS, else port 8265 of this machine.
        working_dir: a folder that is shipped, 100 MB at most, without hidden files.
        start_timeout_s: how long the cluster may take until the job has compared the versions.
        other_versions: whether versions may differ on both sides.
        submitter: where jobs run; default: the cluster at ``address``.
        notify: told in a sentence what should be known.

    Raises:
        ConfigError: all that is wrong with the configuration at once; nothing was sent.
        ClusterError: the cluster cannot be reached, refuses, or cannot start the job.
        JobFailedError: the job failed as soon as it had started, as where versions differ on both sides.
        DetachedError: Ctrl-C while it was about to start; the job is there.
    """
    changes = (
        list(overrides.items()) if isinstance(overrides, Mapping) else [parse_assignment(one) for one in overrides]
    )
    options = {
        "model.name": model,
        "data.source": str(data) if data is not None else None,
        "space": str(space) if isinstance(space, str | Path) else space,
        "search.num_samples": num_samples,
        "search.time_budget_s": time_budget_s,
        "search.metric": metric,
        "output.name": name,
        "output.storage_path": str(storage_path) if storage_path else None,
    }
    folder = Path(working_dir) if working_dir is not None else None
    resolved = checked(resolve_config(Path(config) if config else None, changes, options), folder, notify)
    cluster = submitter or connected(access_to(address))
    if cluster.is_open:
        notify(
            f"warning: {cluster.address} asks for no token: whoever reaches it can run code there; start it with "
            "RAY_AUTH_MODE=token"
        )
    order = Order(
        verb="search",
        run=resolved.output.name or "",
        storage_path=resolved.output.storage_path,
        versions={} if other_versions else versions(),
    )
    check_versions(order.versions, {"ray": cluster.ray_version()})
    submission = Submission(new_id(order.run), cluster)
    with packaged(order.files(resolved.full()), folder) as package:
        cluster.submit(submission.id, ENTRYPOINT, package, order.metadata())
    notify(f"submitted {submission.id}")
    try:
        started = wait_until_taken(cluster, submission.id, start_timeout_s)
    except KeyboardInterrupt:
        raise DetachedError(
            f"{submission.id}: is submitted, and starts unwatched; end it with autoft stop {submission.id}"
        ) from None
    raise_unless_successful(started, submission.log() if started.state.ended else "")
    return submission


def checked(config: SearchConfig, working_dir: Path | None, notify: Callable[[str], None]) -> SearchConfig:
    """The configuration as it is shipped: with the run's name, and without a password.

    Raises:
        ConfigError: what a search would refuse, or data that a job cannot find.
        UnknownNameError: an unknown model or metric.
    """
    base = config.base_recipe()
    source = config.data.source
    if source is None:
        raise ConfigError("data.source: is required; give a path as the cluster sees it, or digits")
    _check_source(source, working_dir)
    check_before_spending(config, base, None)
    name = config.output.name or default_name(base.model.name, source)
    if not PLAIN_NAME.fullmatch(name):
        raise ConfigError(f"output.name: must be {PLAIN_TOLD} for a job, got {name!r}; choose another one")
    changes: dict[str, Any] = {"output.name": name}
    if (storage := config.search.storage) and kept_url(storage) != storage:
        notify("the password of search.storage is not sent; give it to the cluster as PGPASSWORD or in ~/.pgpass")
        changes["search.storage"] = kept_url(storage)
    if is_url(kept := config.output.storage_path) and bare(kept) != kept:
        notify("the keys in the URL of output.storage_path are not sent; give them to the cluster by its environment")
        changes["output.storage_path"] = bare(kept)
    return config.override(changes)


def _check_source(source: str, working_dir: Path | None) -> None:
    if source in BUILT_IN or PurePosixPath(source).is_absolute():
        return
    if working_dir is None:
        raise ConfigError(
            f"data.source: {source} is relative, and a job starts in a folder of its own; give the path as the cluster "
            "sees it, or ship the folder that holds it: --working-dir ."
        )
    if not (working_dir / source).exists() or ".." in PurePosixPath(source).parts:
        raise ConfigError(
            f"data.source: {source} is not in --working-dir {working_dir}; give its path within that folder"
        )
