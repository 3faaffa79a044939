/** What a doctor found, as every `-o` prints it. Exit 0 when all is well, 1 when something is a problem or could not be looked at. */

import type { CliIo, ExitCode } from '../io.ts'
import { writeListing } from '../output.ts'
import type { OutputOptions } from '../output.ts'
import type { Tone } from '../paint.ts'
import { printable } from '../printable.ts'
import type { Column } from '../table.ts'
import { writeLines } from '../write.ts'
import type { CheckState, Finding } from './check.ts'

const TONES: Readonly<Record<CheckState, Tone | undefined>> = { ok: 'good', note: undefined, problem: 'bad', unknown: 'warn' }

const COLUMNS: readonly Column<Finding>[] = [
  { title: 'NAME', cell: each => each.id },
  { title: 'STATE', cell: each => each.state, tone: each => TONES[each.state] },
  { title: 'CHECKS', cell: each => each.title, wide: true },
  { title: 'FOUND', cell: each => each.found, max: 100 },
]

export async function report(findings: readonly Finding[], options: OutputOptions, io: CliIo): Promise<ExitCode> {
  await writeListing({ items: findings, columns: COLUMNS, name: each => each.id, data: each => each }, options, io)
  if (options.output === 'table' || options.output === 'wide') await writeLines(io.stdout, findings.filter(each => each.change !== undefined).flatMap(paragraph))
  const count = (state: CheckState): number => findings.filter(each => each.state === state).length
  const [problems, unknown] = [count('problem'), count('unknown')]
  const parts = [`${problems} ${problems === 1 ? 'problem' : 'problems'}`, ...(unknown === 0 ? [] : [`${unknown} not known`]), ...(count('note') === 0 ? [] : [`${count('note')} to note`]), `${count('ok')} ok`]
  io.stderr.write(`${parts.join(', ')}\n`)
  return problems + unknown === 0 ? 0 : 1
}

function paragraph({ id, found, why, change }: Finding): readonly string[] {
  return ['', `${id}: ${printable(found)}`, ...(why === undefined ? [] : [`  why:    ${printable(why)}`]), `  change: ${printable(change ?? '')}`]
}
