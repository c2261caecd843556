"""docker-compose.yml as Docker Compose reads it, as far as this project's file needs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"


def load(variables: Mapping[str, str]) -> dict[str, Any]:
    """The file with its variables replaced in every string."""
    services: dict[str, Any] = _replace(yaml.safe_load(FILE.read_text()), variables)
    return services


def command_line(service: dict[str, Any]) -> list[str]:
    return [*service["entrypoint"], *service["command"]]


def _replace(node: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {key: _replace(value, variables) for key, value in node.items()}
    if isinstance(node, list):
        return [_replace(value, variables) for value in node]
    return substitute(node, variables) if isinstance(node, str) else node


def substitute(text: str, variables: Mapping[str, str]) -> str:
    """Replace ${NAME} and ${NAME:-default}, where a default may hold variables, and $$ by $.

    Raises ValueError for every other use of $, so that a new form in the file is noticed here.
    """
    done = ""
    while "$" in text:
        before, text = text.split("$", 1)
        done += before
        if text.startswith("$"):
            done, text = done + "$", text[1:]
            continue
        inside, text = _braces(text)
        found = re.fullmatch(r"(\w+)(?::-(.*))?", inside, re.DOTALL)
        if found is None:
            raise ValueError(f"${{{inside}}}: only ${{NAME}} and ${{NAME:-default}} are read here")
        name, default = found.groups()
        value = variables.get(name, "")
        if not value:
            if default is None:
                raise ValueError(f"${{{name}}} is not set and has no default")
            value = substitute(default, variables)
        done += value
    return done + text


def _braces(text: str) -> tuple[str, str]:
    """What stands between the braces at the start of `text`, and the rest."""
    depth = 0
    for end, character in enumerate(text):
        depth += (character == "{") - (character == "}")
        if character == "}" and depth == 0 and text.startswith("{"):
            return text[1:end], text[end + 1 :]
    raise ValueError(f"a $ without braces before {text[:20]!r}; write $$ for a plain one")
