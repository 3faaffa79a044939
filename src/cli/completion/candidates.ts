/** What may come next on a command line, from the definition of the program alone: no file is looked at, no archive opened. */

import type { Argument, Command, Option } from 'commander'

export interface Candidate {
  readonly value: string
  readonly about: string
}

/** `files`, `folders`: the shell offers those itself. */
export interface Candidates {
  readonly candidates: readonly Candidate[]
  readonly paths: 'none' | 'files' | 'folders'
}

const NOTHING: Candidates = { candidates: [], paths: 'none' }

/** @param words all after the name of the program; the last one is being typed and may be empty */
export function candidatesFor(program: Command, words: readonly string[]): Candidates {
  const typed = words.at(-1) ?? ''
  const place = walk(program, words.slice(0, -1))
  const equals = typed.startsWith('--') && !place.noOptions ? typed.indexOf('=') : -1
  if (equals > 0) {
    const option = optionOf(place.command, typed.slice(0, equals))
    return option === undefined ? NOTHING : beginningWith(typed, valuesOf(option, `${typed.slice(0, equals)}=`))
  }
  if (place.awaits !== undefined && !(place.mayEnd && typed.startsWith('-'))) return beginningWith(typed, valuesOf(place.awaits, ''))
  if (typed.startsWith('-') && !place.noOptions) return beginningWith(typed, optionsOf(place.command, place.used))
  if (place.command.commands.length > 0) return place.positionals > 0 ? NOTHING : beginningWith(typed, { candidates: commandsOf(place.command, place.command === program), paths: 'none' })
  const parameter = place.command.registeredArguments[place.positionals] ?? place.command.registeredArguments.findLast(each => each.variadic)
  return parameter === undefined ? NOTHING : beginningWith(typed, choices(parameter.argChoices, ''))
}

interface Place {
  readonly command: Command
  /** An option whose value comes next. */
  readonly awaits: Option | undefined
  /** It has had a value already and takes more. */
  readonly mayEnd: boolean
  readonly used: ReadonlySet<Option>
  readonly positionals: number
  /** After `--`. */
  readonly noOptions: boolean
}

function walk(program: Command, words: readonly string[]): Place {
  let command = program
  let awaits: Option | undefined
  let [mayEnd, noOptions, positionals] = [false, false, 0]
  const used = new Set<Option>()
  for (const word of words) {
    if (awaits !== undefined && !(mayEnd && word.startsWith('-'))) {
      if (awaits.variadic) mayEnd = true
      else awaits = undefined
      continue
    }
    ;[awaits, mayEnd] = [undefined, false]
    if (word === '--') noOptions = true
    else if (word.startsWith('-') && !noOptions) {
      const option = optionOf(command, word.split('=', 1)[0] ?? word)
      if (option !== undefined) used.add(option)
      if (option !== undefined && !word.includes('=') && takesValue(option)) awaits = option
    } else {
      const next = command.commands.find(each => each.name() === word)
      if (next !== undefined) command = next
      // `help list` is about list: what follows help are names of commands.
      else if (!(command === program && word === 'help')) positionals++
    }
  }
  return { command, awaits, mayEnd, used, positionals, noOptions }
}

function takesValue(option: Option): boolean {
  return option.required || option.optional
}

function optionOf(command: Command, flag: string): Option | undefined {
  return command.options.find(each => each.long === flag || each.short === flag)
}

function optionsOf(command: Command, used: ReadonlySet<Option>): Candidates {
  const open = command.options.filter(each => !each.hidden && (each.variadic || !used.has(each)))
  return { candidates: [...open.map(each => ({ value: each.long ?? each.short ?? '', about: each.description })), { value: '--help', about: 'print help' }], paths: 'none' }
}

function commandsOf(command: Command, isProgram: boolean): Candidate[] {
  const named = command.commands.map(each => ({ value: each.name(), about: each.description() }))
  return isProgram ? [...named, { value: 'help', about: 'print help of a command' }] : named
}

function valuesOf(option: Option, before: string): Candidates {
  if (option.argChoices !== undefined) return choices(option.argChoices, before)
  // The placeholder says what it is: <file>, <dir>, <file...>.
  const placeholder = /<([a-z]+)/.exec(option.flags)?.[1] ?? ''
  if (placeholder === 'file') return { candidates: [], paths: 'files' }
  // A place may also be an address; a folder is what a shell can help with.
  return { candidates: [], paths: ['dir', 'place'].includes(placeholder) ? 'folders' : 'none' }
}

function choices(values: Argument['argChoices'], before: string): Candidates {
  return { candidates: (values ?? []).map(value => ({ value: `${before}${value}`, about: '' })), paths: 'none' }
}

function beginningWith(typed: string, { candidates, paths }: Candidates): Candidates {
  return { candidates: candidates.filter(each => each.value.startsWith(typed)), paths }
}
