/** `flotilla completion bash|zsh|fish`: verbs and flags from the program itself, names of objects from the server. */
import type { Command } from 'commander';
import { usageError } from '../exit.js';
import { knownKinds } from '../known-kinds.js';
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
complete -c flotilla -n '__fish_seen_subcommand_from apply diff delete' -s f -r -F
complete -c flotilla -n '__fish_seen_subcommand_from submit load start' -F
complete -c flotilla -n '__fish_seen_subcommand_from get describe delete wait explain' -a '${knownKinds.map(({ plural }) => plural).join(' ')}'
complete -c flotilla -n '__fish_seen_subcommand_from cordon uncordon drain failover' -a '(flotilla get machines --no-headers 2>/dev/null | awk "{ print \\$2 }")'
complete -c flotilla -n '__fish_seen_subcommand_from get describe delete wait logs status journal ssh submit load start stop unload restart destroy cat' -a '(flotilla get units -o name 2>/dev/null | string replace -r ".*/" "")'
`);
      return;
    default:
      throw usageError(`completion ${shell}: expected bash, zsh or fish`);
  }
}

/** Which words follow a verb: kinds and their objects, machines by hostname, units, or files (readline's own completion). */
const bash = (words: string, cases: string) => `_flotilla() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}" words="" kinds="${knownKinds.map(({ plural }) => plural).join(' ')}"
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${words}" -- "$current"))
    return
  fi
  case "$previous" in
    -f|--filename) COMPREPLY=($(compgen -f -- "$current")); return ;;
    -o|--output) COMPREPLY=($(compgen -W "wide json yaml name" -- "$current")); return ;;
  esac
  if [[ "$current" == -* ]]; then
    case "\${COMP_WORDS[1]}" in
${cases}
    esac
    COMPREPLY=($(compgen -W "$words" -- "$current"))
    return
  fi
  case "\${COMP_WORDS[1]}" in
    get|describe|delete|wait)
      if [[ "$current" == */* ]]; then words="$(flotilla get "\${current%%/*}" -o name 2>/dev/null)"
      elif [ "$COMP_CWORD" -eq 2 ]; then words="$kinds"
      elif [[ "\${COMP_WORDS[2]}" == m* ]]; then words="$(_flotilla_machines)"
      else words="$(flotilla get "\${COMP_WORDS[2]}" -o name 2>/dev/null | sed 's,.*/,,')"; fi ;;
    cordon|uncordon|drain|failover) words="$(_flotilla_machines)" ;;
    logs|status|journal|ssh|stop|unload|restart|destroy|cat) words="$(flotilla get units -o name 2>/dev/null | sed 's,.*/,,')" ;;
    submit|load|start)
      words="$(flotilla get units -o name 2>/dev/null | sed 's,.*/,,')"
      COMPREPLY=($(compgen -W "$words" -- "$current") $(compgen -f -- "$current"))
      return ;;
    explain) words="$kinds" ;;
    token) words="create" ;;
    completion) words="bash zsh fish" ;;
    help) words="${words}" ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
_flotilla_machines() { flotilla get machines --no-headers 2>/dev/null | awk '{ print $2 }'; }
complete -F _flotilla flotilla fleetctl
`;
