/** `flotilla completion bash|zsh|fish`: verbs and flags from the program itself, names of objects from the server. */
import type { Command } from 'commander';
import { usageError } from '../exit.js';
import { print } from '../output.js';

export function completion(program: Command, shell: string): void {
  const verbs = program.commands
    .filter((command) => command.name() !== 'help')
    .map((command) => ({ name: command.name(), about: command.summary() || command.description() }));
  const flags = (name: string) =>
    program.commands.find((command) => command.name() === name)?.options.flatMap((option) => (option.long ? [option.long] : [])) ?? [];
  const words = verbs.map(({ name }) => name).join(' ');
  const cases = verbs.map(({ name }) => `    ${name}) words="${flags(name).join(' ')}" ;;`).join('\n');
  switch (shell) {
    case 'bash':
      print(bash(words, cases));
      return;
    case 'zsh':
      print(`#compdef flotilla\nautoload -U +X bashcompinit && bashcompinit\n${bash(words, cases)}`);
      return;
    case 'fish':
      print(`complete -c flotilla -f\n${verbs.map(({ name, about }) => `complete -c flotilla -n __fish_use_subcommand -a ${name} -d '${about.replaceAll("'", "\\'")}'`).join('\n')}
complete -c flotilla -n 'not __fish_use_subcommand' -a '(flotilla get units -o name 2>/dev/null | string replace -r ".*/" "")'
`);
      return;
    default:
      throw usageError(`completion ${shell}: expected bash, zsh or fish`);
  }
}

const bash = (words: string, cases: string) => `_flotilla() {
  local current="\${COMP_WORDS[COMP_CWORD]}" words=""
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${words}" -- "$current"))
    return
  fi
  if [[ "$current" == -* ]]; then
    case "\${COMP_WORDS[1]}" in
${cases}
    esac
    COMPREPLY=($(compgen -W "$words" -- "$current"))
    return
  fi
  case "\${COMP_WORDS[1]}" in
    apply|diff|submit) COMPREPLY=($(compgen -f -- "$current")) ;;
    get|describe|delete|wait)
      if [ "$COMP_CWORD" -eq 2 ]; then words="units machines assignments events components"
      else words="$(flotilla get "\${COMP_WORDS[2]}" -o name 2>/dev/null | sed 's,.*/,,')"; fi
      COMPREPLY=($(compgen -W "$words" -- "$current")) ;;
    cordon|uncordon|drain) COMPREPLY=($(compgen -W "$(flotilla get machines -o name 2>/dev/null | sed 's,.*/,,')" -- "$current")) ;;
    *) COMPREPLY=($(compgen -W "$(flotilla get units -o name 2>/dev/null | sed 's,.*/,,')" -- "$current")) ;;
  esac
}
complete -F _flotilla flotilla
`;
