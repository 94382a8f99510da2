"""The base of all configuration models, and how their errors are told."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails

from autoft.errors import ConfigError, near
from autoft.recipe.truth import check_number

_SUBJECT = re.compile(r"^(?:Input|Tuple|List|String|Dictionary|Value) should(?= )")

_WORDS = {"a valid tuple": "a list", "a valid dictionary": "a mapping", " after validation": ""}
"""What pydantic says in Python's words, and how it is said of YAML."""


class Config(BaseModel):
    """A frozen section of configuration that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: object, info: ValidationInfo) -> object:
        if info.field_name:
            check_number(value, cls.model_fields[info.field_name].annotation)
        return value

    @classmethod
    def parse(cls, raw: object, *, where: str) -> Self:
        """Validate plain data, telling all errors at once.

        Args:
            raw: mappings, lists and scalars as YAML gives them.
            where: what the errors are prefixed with, for example a file name.

        Raises:
            ConfigError: one line per error, ``where: dotted.path: rule, got value``.
        """
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            lines = [f"{where}: {line}" for line in _lines(error, cls)]
            raise ConfigError("\n".join(lines)) from None

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """What a notebook shows: values left at their default are left out."""
        for name, value in super().__repr_args__():
            field = type(self).model_fields.get(name or "")
            if field is None or value != field.get_default(call_default_factory=True):
                yield name, value

    def plain(self) -> dict[str, Any]:
        """The section as mappings, lists and scalars; values left at their default are left out."""
        return self.model_dump(mode="json", exclude_defaults=True)


def _lines(error: ValidationError, model: type[BaseModel]) -> Iterator[str]:
    seen: set[str] = set()
    for detail in error.errors(include_url=False):
        if _follows_from_others(detail):
            continue
        line = _line(detail, model)
        if line not in seen:
            seen.add(line)
            yield line


def _follows_from_others(detail: ErrorDetails) -> bool:
    """Whether a sequence is called too short only because its entries have errors, which are told themselves."""
    given = detail["input"]
    return (
        detail["type"] == "too_short"
        and isinstance(given, list | tuple)
        and len(given) > detail.get("ctx", {}).get("actual_length", len(given))
    )


def _line(detail: ErrorDetails, model: type[BaseModel]) -> str:
    path = ".".join(str(part) for part in detail["loc"]) or "(whole)"
    given = detail["input"]
    match detail["type"]:
        case "extra_forbidden":
            key = str(detail["loc"][-1])
            return f"{path}: unknown key{near(key, _known_keys(model, detail['loc'][:-1]))}"
        case "missing":
            return f"{path}: is required"
        case "model_type":
            return f"{path}: must be a mapping of settings, got {given!r}"
        case "value_error" if isinstance(cause := detail.get("ctx", {}).get("error"), ValueError):
            shown = "" if isinstance(given, Mapping | list | BaseModel) else f", got {given!r}"
            return f"{path}: {cause}{shown}"
        case _:
            rule = _SUBJECT.sub("must", detail["msg"].removeprefix("Value error, "), count=1)
            for foreign, own in _WORDS.items():
                rule = rule.replace(foreign, own)
            return f"{path}: {rule}, got {given!r}"


def _known_keys(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """The keys that the section at ``path`` of ``model`` knows."""
    current: type[BaseModel] | None = model
    for part in path:
        if current is None:
            return []
        if isinstance(part, str) and part in current.model_fields:
            current = _section_type(current.model_fields[part].annotation)
    return list(current.model_fields) if current else []


def _section_type(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        if found := _section_type(argument):
            return found
    return None
