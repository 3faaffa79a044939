/** What a shell needs to ask `steno __complete`: one small function each. Nothing of the program is written into them, so they do not go stale. */

import type { CliIo, ExitCode } from '../io.ts'
import { write } from '../write.ts'

/** `\${` stands for `${`, which a template would take for its own. */
const BASH = String.raw`# bash completion of steno. Needs nothing but bash 4.
_steno() {
  local line directive= word words=()
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD}"; do
    # bash takes --flag=value for three words.
    [[ $word == = ]] || words+=("$word")
  done
  [[ \${COMP_WORDS[COMP_CWORD]} == = ]] && words+=('')
  COMPREPLY=()
  while IFS= read -r line; do
    case $line in
      :*) directive=\${line#:} ;;
      *) COMPREPLY+=("\${line%%$'\t'*}") ;;
    esac
  done < <("\${COMP_WORDS[0]/#\~/$HOME}" __complete "\${words[@]}" 2>/dev/null)
  case $directive in
    0) compopt -o default 2>/dev/null ;;
    16) compopt -o dirnames 2>/dev/null ;;
  esac
}
complete -F _steno steno
`

const ZSH = String.raw`#compdef steno
# zsh completion of steno.
_steno() {
  local line directive value
  local -a described
  for line in "\${(@f)$("\${words[1]/#\~/$HOME}" __complete "\${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
    if [[ $line == :* ]]; then
      directive=\${line#:}
    else
      value=\${line%%$'\t'*}
      if [[ $line == *$'\t'* ]]; then described+=("\${value//:/\\:}:\${line#*$'\t'}"); else described+=("\${value//:/\\:}"); fi
    fi
  done
  if (( $#described )); then _describe steno described; fi
  case $directive in
    0) _files ;;
    16) _files -/ ;;
  esac
}
if [[ $funcstack[1] == _steno ]]; then _steno "$@"; else compdef _steno steno; fi
`

const FISH = String.raw`# fish completion of steno. Needs fish 3.4.
function __steno_complete
  set -l words (commandline -opc)
  set -l typed "$(commandline -ct)"
  for line in ($words[1] __complete $words[2..-1] $typed 2>/dev/null)
    switch $line
      case ':0'
        __fish_complete_path $typed
      case ':16'
        __fish_complete_directories $typed
      case ':*'
      case '*'
        echo $line
    end
  end
end
complete -c steno -f -a '(__steno_complete)'
`

const SCRIPTS: Readonly<Record<string, string>> = { bash: BASH, zsh: ZSH, fish: FISH }

/** `steno completion SHELL`. */
export async function runCompletion(shell: string, io: CliIo): Promise<ExitCode> {
  const script = SCRIPTS[shell]
  if (script === undefined) throw new TypeError(`no completion for ${shell}`)
  await write(io.stdout, script.replaceAll(String.raw`\${`, '${'))
  return 0
}
