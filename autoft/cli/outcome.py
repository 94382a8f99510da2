"""The outcome of a search: watched while it comes about, and printed when it is there."""

import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import psutil
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from autoft.cli.output import duration, number, reserved_stdout, say
from autoft.cli.progress import progress
from autoft.remote import joined
from autoft.tuner.as_json import to_json
from autoft.tuner.observer import Observer

if TYPE_CHECKING:
    from autoft.tuner.result import SearchResult


def watched(search: Callable[[Observer, float], "SearchResult"], as_json: bool, quiet: bool) -> None:
    """Run a search under the progress view, then print its outcome.

    The search is called with the observer and the time this process started, in seconds since the epoch.
    """
    started_at = psutil.Process().create_time()
    with reserved_stdout() if as_json else nullcontext(), progress(quiet=quiet) as observer:
        result = search(observer, started_at)
    if as_json:
        say(to_json(result.summary))
    else:
        print_outcome(result)


def print_outcome(result: "SearchResult") -> None:
    """Print what was found, what it is worth, and what to do with it."""
    from autoft.tuner.run_folder import RunFolder

    config = RunFolder(result.path).read_config()
    console = Console(soft_wrap=True, highlight=False)
    for part in outcome(result.summary):
        console.print(part)
    recipe = joined(result.url, "best_recipe.yaml") if result.url else str(result.path / "best_recipe.yaml")
    place, quoted = shlex.quote(result.place), shlex.quote(recipe)
    for label, text in (
        ("recipe", recipe),
        *((("model", str(model)),) if (model := result.path / "best_model.safetensors").is_file() else ()),
        ("trials", str(result.path / "trials.csv")),
        ("look", f"autoft best {place}"),
        ("replay", f"autoft train {quoted} --data {shlex.quote(config.data.source or 'SOURCE')}"),
        ("go on", f"autoft resume {place} {more(result.summary, config.search.num_samples)}"),
    ):
        console.print(Text(f"{label:<8}{text}"))


def more(summary: Mapping[str, Any], asked: int) -> str:
    """The option that gives a search for so many trials more of what it ran out of."""
    from autoft.tuner.conductor import BUDGET, NONE_LEFT

    why = summary.get("stopped_because") or ""
    if why == NONE_LEFT:
        return "--set space=NAME"
    if "GPU hours" in why:
        return "--set search.max_gpu_hours=HOURS"
    if "search.min_gain" in why:
        return "--set search.min_gain=null"
    all_tried = sum(summary["trials"].values()) >= asked and BUDGET not in summary["reasons"]
    return f"--num-samples {2 * asked}" if all_tried else "--time-budget 20m"


def outcome(summary: Mapping[str, Any]) -> Iterator[RenderableType]:
    """The winner beside the baselines, the trials by state, the reasons, the time."""
    yield Text(verdict(summary), style="bold")
    yield scores(summary)
    yield from (Text(line) for line in confirmed(summary))
    if (delivered := summary.get("delivered")) and delivered["weights"] != "own":
        yield Text(f"weights {delivered['text']}")
    if kept := summary.get("gains", {}).get("kept"):
        yield Text(gain(summary, kept))
    if refitted := summary.get("refit"):
        yield Text(f"model   {refitted['text']}")
    for sentence in summary.get("notes", ()):
        yield Text(sentence, style="yellow")
    yield Text(_counts("trials", summary["trials"]))
    if why := summary.get("stopped_because"):
        yield Text(f"ended   {why}")
    if summary["reasons"]:
        yield Text(_counts("reasons", summary["reasons"]))
    yield Text(
        f"time    {duration(summary['wall_s'])} from start to recipe, {duration(summary['compute_s'])} of training"
    )


def verdict(summary: Mapping[str, Any]) -> str:
    """One sentence: which trial won, and what it gained over the best baseline."""
    names = {baseline["trial"]: name for name, baseline in summary["baselines"].items()}
    winner, metric, value = summary["winner"], summary["metric"], summary["best_value"]
    delivered = summary.get("delivered") or {}
    became = "is delivered" if delivered.get("weights") == "another recipe" else "won"
    if winner in names:
        return (
            f"trial {winner}, the baseline {names[winner]}, {became}: {metric} {number(value)} on the validation split"
        )
    sign = 1 if summary["mode"] == "max" else -1
    values = {name: sign * part["value"] for name, part in summary["baselines"].items() if part["value"] is not None}
    won = f"trial {winner} {became}: {metric} {number(value)} on the validation split"
    if not values:
        return won
    best = max(values, key=lambda name: values[name])
    ahead = sign * value - values[best]
    if not ahead:
        return f"{won}, as good as the best baseline, {best}"
    return f"{won}, {number(abs(ahead))} {'better than' if ahead > 0 else 'behind'} the best baseline, {best}"


def confirmed(summary: Mapping[str, Any]) -> Iterator[str]:
    """What the runs with fresh seeds said: why this one won, what it reached there, what unfreezing bought."""
    found = summary.get("confirmation")
    if not found:
        return
    yield f"confirm {found['why']}"
    for one in found["candidates"]:
        if one["trial"] == found["winner"]:
            ends = one["interval"]
            between = f" ({number(ends[0])} to {number(ends[1])}, 95%)" if ends else ""
            runs = f"{one['runs']} fresh run{'s' * (one['runs'] != 1)}"
            yield f"        {summary['metric']} {number(one['mean'])}{between} in {runs}"
    for part in found.get("unfreezing", {}).values():
        yield f"        {part['text']}"


def gain(summary: Mapping[str, Any], kept: str) -> str:
    """What the model file holds where it is not what the recipe leads to, and what that is worth."""
    tried, metric = summary["gains"]["tried"], summary["metric"]
    found = next(each for each in tried if each["kept"])
    value, gained, error = (number(found[name]) for name in ("value", "gain", "standard_error"))
    text = (
        f"model   {kept}: {metric} {value} on the validation split, {gained} better than the recipe's own weights "
        f"(standard error {error}); the best of {len(tried)} mixtures tried on the same items, so a little too good"
    )
    plain = summary.get("test_plain")
    return f"{text}. On the test split the recipe's own weights have {number(plain[metric])}" if plain else text


def scores(summary: Mapping[str, Any]) -> Table:
    """Validation and test metric of the winner and of the baselines, and what they keep of the pretrained model."""
    metric = summary["metric"]
    table = Table(title=None, box=None, pad_edge=False)
    table.add_column("")
    table.add_column(f"{metric} (validation)", justify="right")
    table.add_column(f"{metric} (test)", justify="right")
    kept = summary.get("forgetting", {})
    if kept:
        table.add_column("retention", justify="right")
    winner = (number(summary["best_value"]), _test(summary["test"], metric))
    table.add_row(
        f"winner: trial {summary['winner']}",
        *winner,
        *_retention(kept, "model" if "model" in kept else summary["winner"]),
        style="bold",
    )
    for name, baseline in summary["baselines"].items():
        cells = (number(baseline["value"]), _test(baseline["test"], metric))
        table.add_row(f"baseline: {name}", *cells, *_retention(kept, baseline["trial"]))
    if plain := summary.get("constant"):
        table.add_row(f"always {plain['answer']}", number(plain["value"]), _test(plain["test"], metric))
    return table


def _retention(kept: Mapping[str, Any], trial: int | str) -> tuple[str, ...]:
    """The cell of a trial, where anything was measured."""
    return (number(kept.get(str(trial), {}).get("retention")),) if kept else ()


def _test(metrics: Mapping[str, Any] | None, metric: str) -> str:
    return number(metrics.get(metric)) if metrics else "-"


def _counts(label: str, counts: Mapping[str, int]) -> str:
    return f"{label:<8}" + (", ".join(f"{count} {name}" for name, count in counts.items()) or "none")
