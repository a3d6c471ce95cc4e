"""Presets: YAML files in the package, to be used by name or copied and edited."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

__all__ = ["parse_yaml", "preset_names", "preset_summary", "read_settings", "yaml_of"]

MOST_CHARACTERS = 1_000_000
OF_VERSION_1 = {"objective", "num_classes", "critic", "denoiser"}
"""Sections that only configurations of ddgan 0.1 have."""
PLAIN = {
    "bool": ("true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?(0|[1-9][0-9]*)", list("-+0123456789")),
    "float": (
        r"[-+]?((0|[1-9][0-9]*)?\.[0-9]+|(0|[1-9][0-9]*)(\.|(?=[eE])))([eE][-+]?[0-9]+)?"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    "null": ("~|null|Null|NULL|", ["~", "n", "N", ""]),
}
"""Patterns of untagged YAML 1.2 values that are not strings, and their possible first characters."""


@cache
def _loader() -> Any:
    """Return a safe YAML loader that reads numbers and booleans as YAML 1.2 does.

    It refuses aliases, which can grow without bound, and duplicate keys. 1e-3 is a number; 1:30, 010, 1_000,
    2026-01-01, yes and no are strings, so none is mistaken for another number or for true.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("it has an alias (*name), which configurations do not use")
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            keys = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
            if twice := [key for key, count in keys.items() if count > 1]:
                raise yaml.YAMLError(f"it gives {twice[0]!r} twice")
            return super().construct_mapping(node, deep)

    Loader.yaml_implicit_resolvers = {}
    _add_plain(Loader)
    return Loader


@cache
def _dumper() -> Any:
    """Return a YAML dumper whose strings are strings under both YAML 1.2 and YAML 1.1."""
    import yaml

    class Dumper(yaml.SafeDumper):
        pass

    _add_plain(Dumper)
    return Dumper


def _add_plain(cls: Any) -> None:
    for tag, (pattern, first) in PLAIN.items():
        cls.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), first)


def _folder() -> Any:
    return resources.files("ddgan.config") / "presets"


def preset_names() -> list[str]:
    """Return the names of the presets, sorted."""
    return sorted(Path(entry.name).stem for entry in _folder().iterdir() if entry.name.endswith(".yaml"))


def preset_summary(name: str) -> str:
    """Return the summary of a preset, the first line of its file."""
    text: str = (_folder() / f"{name}.yaml").read_text(encoding="utf-8")
    return text.partition("\n")[0].removeprefix("#").strip()


def read_settings(source: str | Path) -> dict[str, Any]:
    """Read the plain values of a preset or of a YAML file.

    Raises:
        ValueError: if there is no such preset or file, it is not YAML, or it is from another version.
    """
    path = Path(source)
    if str(source) in preset_names():
        text = (_folder() / f"{source}.yaml").read_text(encoding="utf-8")
    elif path.is_file():
        with path.open(encoding="utf-8", errors="replace") as file:
            text = file.read(MOST_CHARACTERS + 1)
        if len(text) > MOST_CHARACTERS:
            raise ValueError(
                f"'{source}' has more than {MOST_CHARACTERS:,} characters; it is not a configuration"
            )
    else:
        near = difflib.get_close_matches(str(source), preset_names(), 1, 0.6)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(
            f"'{source}' is neither a preset ({', '.join(preset_names())}) nor a configuration file{hint}"
        )
    settings = parse_yaml(text, f"'{source}'") or {}
    if not isinstance(settings, dict):
        raise ValueError(f"'{source}' holds {type(settings).__name__}, not a mapping of sections")
    check_version(settings, f"'{source}'")
    return settings


def parse_yaml(text: str, what: str) -> Any:
    """Parse YAML to plain values.

    Raises:
        ValueError: if it is not valid, in one line that begins with `what`.
    """
    import yaml

    try:
        return yaml.load(text, _loader())
    except yaml.YAMLError as error:
        raise ValueError(f"{what} is not valid YAML: {' '.join(str(error).split())}") from None
    except (ValueError, AttributeError, LookupError, TypeError):  # from a value with a tag, such as !!int x
        raise ValueError(
            f"{what} is not valid YAML: it has a number of too many digits, or a value that its tag !! does "
            "not allow"
        ) from None
    except RecursionError:
        raise ValueError(f"{what} is not valid YAML: it is nested too deeply") from None


def yaml_of(values: Any) -> str:
    """Write plain values as YAML that `parse_yaml` reads."""
    import yaml

    text: str = yaml.dump(values, Dumper=_dumper(), sort_keys=False, default_flow_style=None)
    return text


def check_version(settings: dict[str, Any], what: str) -> None:
    """Refuse configurations of ddgan 0.1.

    Raises:
        ValueError: if it is one.
    """
    generator = settings.get("generator")
    shape = {"image_size", "state_shape"} & (generator.keys() if isinstance(generator, dict) else set())
    if found := sorted((OF_VERSION_1 & settings.keys()) | {f"generator.{name}" for name in shape}):
        raise ValueError(
            f"{what} is a configuration of ddgan 0.1 (it has {found[0]}), but this version reads format 2; "
            "start from a preset of this version, or use ddgan 0.1"
        )
