"""Completion for bash, zsh and fish, written from the verbs and their options."""

from __future__ import annotations

import argparse


def words(parser: argparse.ArgumentParser) -> dict[str, tuple[str, list[str]]]:
    """Verb → what it does, and its options."""
    [verbs] = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    helps = {each.dest: each.help or "" for each in verbs._choices_actions}
    return {
        name: (helps.get(name, ""), [option for action in each._actions for option in action.option_strings if option[:2] == "--"])
        for name, each in verbs.choices.items()
    }  # fmt: skip


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](words(parser))


def _bash(known: dict[str, tuple[str, list[str]]]) -> str:
    cases = "\n".join(f'    {name}) words="{" ".join(options)}" ;;' for name, (_, options) in known.items())
    return f"""_mctl() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" verb="" each words
  for each in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    case "$each" in -*) ;; *) verb="$each"; break ;; esac
  done
  case "$verb" in
    "") words="{" ".join(known)}" ;;
{cases}
  esac
  if [ -n "$verb" ] && [ "${{word:0:1}}" != - ]; then
    COMPREPLY=($(compgen -f -- "$word"))
  else
    COMPREPLY=($(compgen -W "$words" -- "$word"))
  fi
}}
complete -F _mctl mctl"""


def _zsh(known: dict[str, tuple[str, list[str]]]) -> str:
    verbs = "\n".join(f"    '{name}:{_plain(text)}'" for name, (text, _) in known.items())
    cases = "\n".join(f"    {name}) compadd -- {' '.join(options)} ;;" for name, (_, options) in known.items())
    return f"""#compdef mctl
_mctl() {{
  local -a verbs
  verbs=(
{verbs}
  )
  if (( CURRENT == 2 )); then
    _describe verb verbs
    return
  fi
  if [[ "$PREFIX" != -* ]]; then
    _files
    return
  fi
  case "$words[2]" in
{cases}
  esac
}}
compdef _mctl mctl"""


def _fish(known: dict[str, tuple[str, list[str]]]) -> str:
    lines = []
    for name, (text, options) in known.items():
        lines.append(f"complete -c mctl -n __fish_use_subcommand -f -a {name} -d '{_plain(text)}'")
        lines += [f"complete -c mctl -n '__fish_seen_subcommand_from {name}' -l {option[2:]}" for option in options]
    return "\n".join(lines)


def _plain(text: str) -> str:
    return text.replace("'", "").replace(":", ",").replace("[", "(").replace("]", ")")
