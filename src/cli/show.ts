/** `steno show ID`: who, where, when and on what basis; then the frames, requests and answers told apart. */

import type { SessionSummary } from '../record/recording.ts'
import { foldRuns } from '../record/fold.ts'
import { matchesQuery, needlesOf } from '../record/query.ts'
import type { Row } from '../record/row.ts'
import { createTimeline } from '../record/timeline.ts'
import { timeUs } from '../record/timestamp.ts'
import { queryFlags } from './flag.ts'
import { nowMs, programName } from './io.ts'
import type { CliIo, ExitCode } from './io.ts'
import { writeListing } from './output.ts'
import type { OutputOptions } from './output.ts'
import { pairColumns } from './pair-columns.ts'
import { ageText, durationText, sizeText } from './quantity.ts'
import { gapBanner, rowColumns, rowData } from './row-columns.ts'
import { clientText, identityText, sessionUs } from './session-columns.ts'
import { collectFrames, reportFindings, sessionOf, withSource } from './source.ts'
import type { SourceOptions } from './source.ts'
import { describeLines } from './table.ts'

export interface ShowOptions extends SourceOptions, OutputOptions {
  readonly grep?: string
  readonly kind?: string
  readonly tool?: string
  readonly from?: string
  readonly paired?: boolean
  readonly all?: boolean
}

export async function runShow(id: string | undefined, options: ShowOptions, io: CliIo): Promise<ExitCode> {
  const query = queryFlags([
    ['--grep', options.grep],
    ['--kind', keyed('kind', options.kind)],
    ['--tool', keyed('tool', options.tool)],
    ['--from', keyed('from', options.from)],
  ])
  return withSource(options, io, async source => {
    const session = await sessionOf(source, id, options, io)
    const timeline = createTimeline(needlesOf(query))
    await collectFrames(source, session, io, timeline.add)
    const all = timeline.rows()
    const filtered = query.terms.length > 0
    const matching = all.filter(row => matchesQuery(query, row) && (options.paired !== true || row.type === 'request'))
    const shown = filtered || options.all === true ? matching : matching.filter(row => !row.quiet)
    const items = options.all === true || options.paired === true ? shown : foldRuns(shown)
    await writeListing(
      {
        items,
        columns: options.paired === true ? pairColumns(session, all) : rowColumns(session),
        name: row => `${row.frame.writer}.${row.frame.seq}`,
        data: rowData,
        document: frames => ({ session, frames }),
        banner: gapBanner,
        above: [...summaryLines(session, all, io), ''],
      },
      options,
      io,
    )
    reportFindings(source, io)
    if (items.length > 0) return 0
    io.stderr.write(`no frame of session ${session.id} matches; '${programName(io)} show${source.flags} ${session.id}' shows all\n`)
    return 1
  })
}

function keyed(key: string, value: string | undefined): string | undefined {
  return value === undefined ? undefined : `${key}:"${value.replace(/["\\]/g, '\\$&')}"`
}

function summaryLines(session: SessionSummary, rows: readonly Row[], io: CliIo): readonly string[] {
  const start = rows.find(row => row.frame.kind === 'session.start')?.frame
  const url = start?.kind === 'session.start' ? ` (${start.server.url})` : ''
  const startedMs = timeUs(session.started) / 1000
  const place = [session.workload, session.pod].filter(each => each !== undefined).join(', pod ')
  return describeLines([
    ['Name', session.id],
    ['State', session.state === 'incomplete' ? `incomplete (${session.gaps > 0 ? 'something is missing' : 'no end was recorded'})` : session.state],
    ['Basis', session.basis],
    ['Server', session.server === undefined ? undefined : `${session.server}${url}`],
    ...(place === '' ? [] : [['Workload', place] as const]),
    ['Client', clientText(session.client)],
    ['Identity', identityText(session.identity)],
    ['Started', `${session.started} (${ageText(nowMs(io) - startedMs)} ago)`],
    ['Duration', durationText(sessionUs(session))],
    ['Calls', `${session.calls}, ${counted(session.errors, 'error')}, ${counted(session.denials, 'denial')}`],
    ['Tools', session.tools.join(', ')],
    ['Gaps', String(session.gaps)],
    ['Frames', `${session.frames} in ${counted(session.exchanges, 'exchange')}, ${sizeText(session.bytes)} of bodies`],
    ['Writers', session.writers.join(', ')],
  ])
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}
