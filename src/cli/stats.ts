/** `steno stats ID`: per tool how often, how often in vain, and how long. */

import { toolStats } from '../record/stats.ts'
import type { ToolStats } from '../record/stats.ts'
import { createTimeline } from '../record/timeline.ts'
import { programName } from './io.ts'
import type { CliIo, ExitCode } from './io.ts'
import { writeListing } from './output.ts'
import type { OutputOptions } from './output.ts'
import { durationText } from './quantity.ts'
import { collectFrames, sessionOf, withSource } from './source.ts'
import type { SourceOptions } from './source.ts'
import type { Column } from './table.ts'

const COLUMNS: readonly Column<ToolStats>[] = [
  { title: 'NAME', cell: stats => stats.tool, max: 40 },
  { title: 'CALLS', cell: stats => stats.calls },
  { title: 'ERRORS', cell: stats => stats.errors, tone: stats => (stats.errors > 0 ? 'bad' : undefined) },
  { title: 'NO-ANSWER', cell: stats => stats.pending, tone: stats => (stats.pending > 0 ? 'warn' : undefined) },
  { title: 'P50', cell: stats => took(stats.p50Us) },
  { title: 'P95', cell: stats => took(stats.p95Us) },
  { title: 'MAX', cell: stats => took(stats.maxUs) },
]

export async function runStats(id: string | undefined, options: SourceOptions & OutputOptions, io: CliIo): Promise<ExitCode> {
  return withSource(options, io, async source => {
    const session = await sessionOf(source, id, options, io)
    const timeline = createTimeline()
    await collectFrames(source, session, io, timeline.add)
    const items = toolStats(timeline.rows())
    await writeListing({ items, columns: COLUMNS, name: stats => stats.tool, data: stats => stats }, options, io)
    if (items.length > 0) return 0
    io.stderr.write(`session ${session.id} called no tool; '${programName(io)} show${source.flags} ${session.id}' shows what it did\n`)
    return 1
  })
}

function took(us: number | undefined): string | undefined {
  return us === undefined ? undefined : durationText(us)
}
