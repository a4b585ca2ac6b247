"""The scripts that make a shell ask us, shown and installed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bmslink.cli.completion.answer import SHELLS
from bmslink.errors import UsageError
from bmslink.storage.atomic import replace_file

if TYPE_CHECKING:
    from bmslink.cli.output import Session

__all__ = ["SCRIPTS", "install", "shell_script", "wanted_shell"]

_BASH = """\
_bmslink_completion() {
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
            :files) compopt -o default 2>/dev/null ;;
            :nospace) compopt -o nospace 2>/dev/null ;;
            *) COMPREPLY+=("$line") ;;
        esac
    done < <(_BMSLINK_COMPLETE=bash _BMSLINK_LINE="${COMP_LINE:0:COMP_POINT}" \\
        _BMSLINK_BREAKS="$COMP_WORDBREAKS" "$1" </dev/null 2>/dev/null)
}
complete -F _bmslink_completion bmslink
"""
_ZSH = """\
#compdef bmslink
_bmslink_completion() {
    local line
    local -a told plain nospace
    nospace=()
    for line in "${(@f)$(_BMSLINK_COMPLETE=zsh _BMSLINK_LINE="${(j: :)words[1,CURRENT]}" \\
            "${words[1]}" </dev/null 2>/dev/null)}"; do
        case $line in
            '') ;;
            :files) _files ;;
            :nospace) nospace=(-S '') ;;
            *$'\\t'*) told+=("${${line%%$'\\t'*}//:/\\\\:}:${line#*$'\\t'}") ;;
            *) plain+=("$line") ;;
        esac
    done
    (( $#told )) && _describe bmslink told "${nospace[@]}"
    (( $#plain )) && compadd "${nospace[@]}" -- "${plain[@]}"
    return 0
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _bmslink_completion "$@"
else
    compdef _bmslink_completion bmslink
fi
"""
_FISH = """\
function __bmslink_completion
    set -l line (commandline -cp | string collect)
    set -l program (commandline -opc)[1]
    for each in (_BMSLINK_COMPLETE=fish _BMSLINK_LINE="$line" $program </dev/null 2>/dev/null)
        switch $each
            case :files
                __fish_complete_path (commandline -ct)
            case :nospace
            case '*'
                echo $each
        end
    end
end
complete -c bmslink -f -a '(__bmslink_completion)'
"""
_SHOW, _INSTALL = "--show-completion", "--install-completion"
_OPTIONS = (_SHOW, _INSTALL)
SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
"""By shell."""


def shell_script(arguments: Sequence[str], session: Session) -> bool:
    """Do what `--show-completion` and `--install-completion` ask for; whether one of them is there.

    A shell may follow, for another one than that above us. Raises `UsageError` for a shell that
    has no script here, `OSError` where nothing can be installed.
    """
    asked = next((word for word in arguments if word in _OPTIONS), None)
    if asked is None:
        return False
    shell = wanted_shell([word for word in arguments if not word.startswith("-")])
    if shell is None:
        raise UsageError(
            f"Completion is there for {', '.join(SHELLS)}: name one, as in {asked} zsh."
        )
    if asked == _SHOW:
        session.write(*SCRIPTS[shell].splitlines())
    else:
        session.print(f"{shell} completes from its next start on: {install(shell)}")
    return True


def wanted_shell(words: list[str]) -> str | None:
    """The shell that the words name, else the one that we were started from; `None`: another."""
    if words:
        return words[0] if words[0] in SHELLS else None
    found = _above() or Path(os.environ.get("SHELL", "")).name
    return found if found in SHELLS else None


def _above() -> str:
    """The shell that we were started from, where the system shows it."""
    process = os.getppid()
    with suppress(OSError, ValueError):
        for _ in range(_HEIGHT):
            name, _, rest = (
                Path(f"/proc/{process}/stat").read_text().partition("(")[2].rpartition(")")
            )
            if name in SHELLS:
                return name
            process = int(rest.split()[1])
    return ""


_HEIGHT = 8


def install(shell: str) -> Path:
    """Write the script where the shell looks for it, and see to it that it does; what of that is
    there stays. `OSError` where it cannot be written."""
    home = Path.home()
    if shell == "bash":
        path = home / ".bash_completions" / "bmslink.sh"
        _write(path, _BASH)
        _mention(home / ".bashrc", f"source '{path}'")
    elif shell == "zsh":
        path = home / ".zfunc" / "_bmslink"
        _write(path, _ZSH)
        _mention(home / ".zshrc", "fpath+=~/.zfunc; autoload -Uz compinit; compinit")
    else:
        base = os.environ.get("XDG_CONFIG_HOME") or home / ".config"
        path = Path(base) / "fish" / "completions" / "bmslink.fish"
        _write(path, _FISH)
    return path


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, text.encode())


def _mention(path: Path, line: str) -> None:
    """Add a line to a file of the user's, once."""
    old = path.read_text(encoding="utf-8", errors="surrogateescape") if path.exists() else ""
    if line in old.splitlines():
        return
    end = "" if not old or old.endswith("\n") else "\n"
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{end}{line}\n")
