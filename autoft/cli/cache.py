"""``autoft cache``: what is kept on disk to be used again, whether it is whole, and how to get rid of it."""

from dataclasses import asdict
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from autoft.cli.options import AsJson
from autoft.errors import ConfigError

if TYPE_CHECKING:
    from autoft.shards import ShardStore

cache = typer.Typer(help="Show, check or remove what is kept on disk to be used again.", no_args_is_help=True)


class Kind(StrEnum):
    """What a store keeps."""

    ITEMS = "items"
    ACTIVATIONS = "activations"


Only = Annotated[Kind | None, typer.Option("--kind", help="Decoded items or activations only; default: both.")]


@cache.command()
def info(as_json: AsJson = False) -> None:
    """Show what is kept, how large it is, when it was last used, and whether it is in use."""
    from autoft.cli.output import print_json, say
    from autoft.shards import entries

    found = {kind: (store, entries(store)) for kind, store in _stores(None).items()}
    count = sum(len(own) for _, own in found.values())
    nbytes = sum(entry.nbytes for _, own in found.values() for entry in own)
    if as_json:
        told = [
            {"kind": kind, "root": str(store.root), "max_bytes": store.max_bytes, "entries": [asdict(e) for e in own]}
            for kind, (store, own) in found.items()
        ]
        print_json({"stores": told, "total": {"entries": count, "bytes": nbytes}})
        return
    for kind, (store, own) in found.items():
        say(f"{kind}: {store.root}, a budget of {_size(store.max_bytes)} by default")
        for entry in own:
            when = datetime.fromtimestamp(entry.last_used).astimezone().isoformat(" ", "minutes")
            rows = "damaged" if entry.rows is None else f"{entry.rows:,} rows"
            state = "in use" if entry.in_use else "not in use"
            say(f"  {entry.key}  {_size(entry.nbytes)}  {rows}  last used {when}  {state}")
    say(f"total: {count} entries, {_size(nbytes)}")


@cache.command()
def verify() -> None:
    """Check every checksum; remove what is damaged, so that it is built again. Exit code 1 if anything was."""
    from autoft.cli.output import say
    from autoft.shards import entries
    from autoft.shards import verify as damages_of

    count = found = 0
    for kind, store in _stores(None).items():
        count += len(entries(store))
        for damage in damages_of(store):
            found += 1
            remedy = "removed" if damage.removed else "in use, and built again by whoever opens it next"
            say(f"{kind}: {damage.key}: {damage.what}: {remedy}")
    say(f"{count} entries, {found} damaged")
    if found:
        raise typer.Exit(1)


@cache.command()
def clear(
    kind: Only = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove everything that nobody uses; what is needed again is built again."""
    from autoft.cli.output import say
    from autoft.shards import clear as clear_store

    stores = _stores(kind)
    if not yes and not _agreed(sum(store.used_bytes() for store in stores.values())):
        say("nothing was removed")
        raise typer.Exit(1)
    for name, store in stores.items():
        removed, kept = clear_store(store)
        say(f"{name}: {len(removed)} entries removed, {_size(sum(entry.nbytes for entry in removed))} freed")
        for entry in kept:
            say(f"{name}: {entry.key} is in use and stays, {_size(entry.nbytes)}")


def _stores(kind: Kind | None) -> "dict[str, ShardStore]":
    from autoft.shards import ShardStore, default_max_bytes, default_roots

    roots = {name: root for name, root in default_roots().items() if kind is None or name == kind}
    return {name: ShardStore(root, default_max_bytes(root)) for name, root in roots.items()}


def _agreed(nbytes: int) -> bool:
    try:
        return typer.confirm(f"remove up to {_size(nbytes)} of decoded items and activations?", err=True)
    except typer.Abort:
        raise ConfigError("cache clear: asks before it removes, and there was no answer; give --yes") from None


def _size(nbytes: float) -> str:
    if nbytes < 1000:
        return f"{nbytes:.0f} bytes"
    for unit in ("kB", "MB", "GB"):
        nbytes /= 1000
        if nbytes < 1000:
            return f"{nbytes:.1f} {unit}"
    return f"{nbytes / 1000:,.1f} TB"
