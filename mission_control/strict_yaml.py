"""YAML as it comes in from files of others and goes out to them: plain data only. Not: what any file means.

Anchors and aliases are refused: a few hundred bytes of them stand for gigabytes.
"""

from __future__ import annotations

from typing import Any

import yaml

from mission_control import strict_json
from mission_control.errors import Invalid

MOST_CHARACTERS = 1_000_000


class _WithoutAliases:
    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):  # type: ignore[attr-defined]
            raise yaml.YAMLError("it uses an alias")
        return super().compose_node(parent, index)  # type: ignore[misc]


class _Words(_WithoutAliases, yaml.BaseLoader):
    """Every scalar is the text that stands there: `id: 7.10` is not a number."""


class _Values(_WithoutAliases, yaml.SafeLoader):
    """Scalars as JSON knows them; a time stays the text it is."""


_Values.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class _Plain(yaml.SafeDumper):
    """Writes what stands in two places twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def words(text: str) -> Any:
    """Mappings and lists of texts. Invalid: it is no YAML, too large, or uses aliases."""
    return _read(text, _Words)


def read(text: str) -> Any:
    """A value that JSON can hold. Invalid: it is no such YAML, too large, or uses aliases."""
    value = _read(text, _Values)
    try:
        return strict_json.read(strict_json.write({"value": value}))["value"]
    except (TypeError, ValueError):
        raise Invalid({"": "The YAML holds what JSON cannot."}) from None


def write(value: Any) -> str:
    """The value as YAML blocks, keys in their order."""
    text: str = yaml.dump(
        value, Dumper=_Plain, allow_unicode=True, sort_keys=False, default_flow_style=False, width=120
    )
    return text


def _read(text: str, loader: Any) -> Any:
    if len(text) > MOST_CHARACTERS:
        raise Invalid({"": f"The YAML has more than {MOST_CHARACTERS:,} characters."})
    try:
        return yaml.load(text, Loader=loader)  # noqa: S506  # both are safe loaders
    except RecursionError:
        raise Invalid({"": "The YAML is nested too deeply."}) from None
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        said = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise Invalid({"": f"This is not plain YAML{where}: {said}."}) from None
