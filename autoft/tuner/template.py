"""A search.yaml to begin with: all settings as they are without it, each with what it means."""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise
from typing import Any, Literal, get_args, get_origin

from autoft.recipe import Config, Stage, yaml
from autoft.tuner.config import SearchConfig

_HEAD = """\
# A search of autoft. It is run by:   autoft search -c search.yaml
# and priced beforehand by:           autoft plan -c search.yaml
# What stands behind a "#" without a space is a setting as it is by default: to change it, take the "#" from it, and
# from the name of its section."""
_STAGES = "Stages of every recipe, one after the other; the search space changes them. Each may have:"
_SPACE = """\
What recipes are drawn from. Instead of the dimensions it may be a name (space: staged), or a file of its own. Here as
the default one has it, freeze_depth: give all dimensions that shall be searched; `path` is a setting of the recipe."""


def search_yaml(config: SearchConfig) -> str:
    """The text of a search.yaml that resolves to ``config``, in which model and data alone are set."""
    return "\n\n".join([_HEAD, *("\n".join(_part(name, config)) for name in SearchConfig.model_fields)]) + "\n"


def _part(name: str, config: SearchConfig) -> Iterator[str]:
    section = getattr(config, name)
    match name:
        case "stages":
            yield from _comment(_STAGES)
            for key, field in Stage.model_fields.items():
                default = "" if field.is_required() or field.default is None else f" ({field.default})"
                yield from _comment(f"{key}{default}: {_meaning(Stage, key)}".removesuffix(": "), indent="  ")
            yield from _off(yaml.dumps({name: [stage.plain() for stage in section]}))
        case "space":
            yield from _comment(_SPACE)
            yield from _off(yaml.dumps({name: section}))
        case _:
            given = name in {"model", "data"}
            yield from _comment(inspect.getdoc(type(section)) or "")
            yield f"{name}:" if given else f"#{name}:"
            for key, value in section.model_dump(mode="json").items():
                yield from _comment(_meaning(type(section), key), indent="  ")
                line = textwrap.indent(yaml.dumps({key: value}).rstrip("\n"), "  ")
                yield from [line] if given and key in {"name", "source"} else _off(line)


def _meaning(model: type[Config], key: str) -> str:
    """What a setting means, and the values that it may have where these are words."""
    words = list(_words(model.model_fields[key].annotation))
    choice = f"One of: {', '.join(words)}." if len(words) > 1 else ""
    return " ".join(part for part in (meanings_of(model).get(key), choice) if part)


def _words(annotation: Any) -> Iterator[str]:
    for each in get_args(annotation):
        if get_origin(annotation) is Literal:
            yield str(each)
        else:
            yield from _words(each)


@cache
def meanings_of(model: type[Config]) -> Mapping[str, str]:
    """The sentence that stands below each field of a section."""
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        if not issubclass(each, Config) or each is Config:
            continue
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(each))).body
        lines = body.body if isinstance(body, ast.ClassDef) else []
        for line, below in pairwise(lines):
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and isinstance(below, ast.Expr):
                found[line.target.id] = inspect.cleandoc(ast.literal_eval(below.value))
    return found


def _comment(text: str, indent: str = "") -> list[str]:
    plain = " ".join(text.replace("``", "`").split())
    return textwrap.wrap(plain, 112, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")


def _off(text: str) -> list[str]:
    """The lines as comments that nothing but their "#" keeps from being settings."""
    return [re.sub(r"^(\s*)", r"\1#", line, count=1) for line in text.rstrip("\n").split("\n")]
