/** `list -w`: asks the archive again and again, and prints what changed. Ends with 0 on the signal. */

import { setTimeout as sleep } from 'node:timers/promises'

import type { SessionFilter, SessionSummary } from '../record/recording.ts'
import { nowMs } from './io.ts'
import type { CliIo, ExitCode } from './io.ts'
import { createPaint } from './paint.ts'
import { printable, printableJson } from './printable.ts'
import { sessionColumns } from './session-columns.ts'
import type { Source } from './source.ts'
import { createTable, tableLines } from './table.ts'
import type { OutputOptions } from './output.ts'
import { write, writeLines } from './write.ts'

const EVERY_MS = 1000

export interface Watch {
  readonly filter: SessionFilter
  readonly limit: number
  readonly options: OutputOptions
}

export async function watchSessions(source: Source, watch: Watch, io: CliIo): Promise<ExitCode> {
  const onTerminal = io.stdout.isTTY === true && (watch.options.output === 'table' || watch.options.output === 'wide')
  const show = onTerminal ? redraw(source, watch, io) : printChanges(watch, io)
  for (;;) {
    await show(await source.recording.sessions({ filter: watch.filter, limit: watch.limit }))
    try {
      await sleep(EVERY_MS, undefined, { signal: io.signal })
    } catch {
      return 0
    }
  }
}

type Show = (sessions: readonly SessionSummary[]) => Promise<void>

function redraw(source: Source, watch: Watch, io: CliIo): Show {
  return async sessions => {
    const room = Math.max(1, (io.stdout.rows || 24) - 2)
    const table = { columns: sessionColumns(sessions, () => nowMs(io)), paint: createPaint(watch.options.color, io), wide: watch.options.output === 'wide', headers: watch.options.headers }
    const lines = sessions.length === 0 ? [`no sessions yet in ${printable(source.name)}; waiting`] : [...tableLines(sessions.slice(0, room), table)]
    // Home, each line cleared behind its end, the rest cleared: no flicker.
    await write(io.stdout, `\u001b[H${lines.map(line => `${line}\u001b[K\n`).join('')}\u001b[J`)
  }
}

/** A line for each session that is new or counts more than before. Widths are those of the first lines: a stream cannot be laid out anew. */
function printChanges(watch: Watch, io: CliIo): Show {
  const seen = new Map<string, string>()
  let line: ((session: SessionSummary) => string) | undefined
  return async sessions => {
    const changed = sessions.filter(session => seen.get(session.id) !== JSON.stringify(session)).reverse()
    for (const session of changed) seen.set(session.id, JSON.stringify(session))
    if (changed.length === 0) return
    if (line === undefined) {
      const opened = opener(watch, changed, io)
      if (opened.header !== undefined) await writeLines(io.stdout, [opened.header])
      line = opened.line
    }
    await writeLines(io.stdout, changed.map(line))
  }
}

function opener(watch: Watch, first: readonly SessionSummary[], io: CliIo): { header?: string; line: (session: SessionSummary) => string } {
  const { output, headers, color } = watch.options
  if (output === 'name') return { line: session => session.id }
  if (output !== 'table' && output !== 'wide') return { line: session => printableJson(session) }
  const table = createTable(first, { columns: sessionColumns(first, () => nowMs(io)), paint: createPaint(color, io), wide: output === 'wide' })
  return headers ? { header: table.header(), line: table.line } : { line: table.line }
}
