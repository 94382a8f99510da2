"""The one YAML loader: safe, strict about duplicate keys, and with the numbers people write."""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from autoft.errors import ConfigError

_FLOAT = re.compile(
    r"""^(?:[-+]?(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+]?[0-9]+)?
        |[-+]?(?:[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)
        |[-+]?\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?
        |[-+]?\.(?:inf|Inf|INF)
        |\.(?:nan|NaN|NAN))$""",
    re.VERBOSE,
)
_BOOL = re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$")
_FLOAT_TAG, _BOOL_TAG = "tag:yaml.org,2002:float", "tag:yaml.org,2002:bool"
_STR_TAG = "tag:yaml.org,2002:str"
_BREAKS = re.compile("[\x85\u2028\u2029]")
_DATE_TAG = "tag:yaml.org,2002:timestamp"


class _Loader(yaml.SafeLoader):
    """YAML 1.2 scalars (``1e-3`` is a float; on, off, yes, no and dates are strings); duplicate keys are errors."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 - PyYAML asks so
        seen: dict[Hashable, int] = {}
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if isinstance(key, Hashable) and key in seen:
                raise ConfigError(f"line {line}: duplicate key {key!r}, first given on line {seen[key]}; keep one")
            seen[key] = line
        return super().construct_mapping(node, deep=deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in {_FLOAT_TAG, _BOOL_TAG, _DATE_TAG}]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_FLOAT_TAG, _FLOAT, list("-+0123456789."))
_Loader.add_implicit_resolver(_BOOL_TAG, _BOOL, list("tTfF"))


def loads(text: str, *, where: str = "yaml") -> Any:
    """Read YAML text into mappings, lists and scalars.

    Raises:
        ConfigError: not YAML, a duplicate key, or a tag that would build a Python object.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader subclass
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not readable as YAML: {' '.join(str(error).split())}") from None


def load(path: Path) -> Any:
    """Read a YAML file; see `loads`.

    Raises:
        ConfigError: the file cannot be read, or is not YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{path}: cannot be read: {reason}; give the path of a YAML file") from None
    return loads(text, where=str(path))


class _Dumper(yaml.SafeDumper):
    """Writes floats so that `loads` gives back the same bits."""


_Dumper.add_representer(float, lambda dumper, value: dumper.represent_scalar(_FLOAT_TAG, _float_text(value)))
_Dumper.add_representer(str, lambda dumper, value: dumper.represent_scalar(_STR_TAG, value, _quotes(value)))
_Dumper.yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


def _float_text(value: float) -> str:
    if value != value:  # noqa: PLR0124 - NaN is the only value that differs from itself
        return ".nan"
    return repr(value).replace("inf", ".inf")


def _quotes(text: str) -> str | None:
    """Double ones, within which they are escaped, where Unicode's own line breaks would be read as newlines."""
    return '"' if _BREAKS.search(text) else None


def dumps(value: Any) -> str:
    """Write plain data as YAML that `loads` reads back unchanged, keys in the order given."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
