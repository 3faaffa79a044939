/** What shells and kubectl ask: `steno __complete WORD…`. The answer is in the lines that programs made with cobra give, which kubectl reads too. */

import type { Command } from 'commander'

import type { CliIo, ExitCode } from '../io.ts'
import { write } from '../write.ts'
import { candidatesFor } from './candidates.ts'
import type { Candidates } from './candidates.ts'

/** ShellCompDirective of cobra: files as the shell knows them, nothing else than what is said, folders only. */
const DIRECTIVES: Readonly<Record<Candidates['paths'], number>> = { files: 0, none: 4, folders: 16 }

/** One `value TAB description` each, then `:directive`. */
export async function runComplete(program: Command, words: readonly string[], io: CliIo): Promise<ExitCode> {
  const { candidates, paths } = candidatesFor(program, words)
  const lines = candidates.map(({ value, about }) => (about === '' ? value : `${value}\t${about}`))
  await write(io.stdout, `${[...lines, `:${DIRECTIVES[paths]}`].join('\n')}\n`)
  return 0
}
