/** `steno list`: sessions, newest first. With `-w` it goes on: a redrawn table on a terminal, a line per change in a pipe. */

import type { SessionFilter, SessionSummary } from '../record/recording.ts'
import { countFlag, sinceFlag } from './flag.ts'
import { nowMs, programName } from './io.ts'
import type { CliIo, ExitCode } from './io.ts'
import { watchSessions } from './list-watch.ts'
import { writeListing } from './output.ts'
import type { OutputOptions } from './output.ts'
import { sessionColumns } from './session-columns.ts'
import { reportFindings, withSource } from './source.ts'
import type { SourceOptions } from './source.ts'

export interface ListOptions extends SourceOptions, OutputOptions {
  readonly workload?: string
  readonly tool?: string
  readonly errors?: boolean
  readonly since?: string
  readonly limit: string
  readonly after?: string
  readonly watch?: boolean
}

export async function runList(options: ListOptions, io: CliIo): Promise<ExitCode> {
  const limit = countFlag('--limit', options.limit)
  const filter = filterOf(options, io)
  return withSource(options, io, async source => {
    if (options.watch === true) return watchSessions(source, { filter, limit, options }, io)
    const after = options.after === undefined ? {} : { after: (await source.recording.session(options.after))?.id ?? options.after }
    const found = await source.recording.sessions({ filter, limit: limit + 1, ...after })
    const sessions = found.slice(0, limit)
    await writeListing(listing(sessions, io), options, io)
    reportFindings(source, io)
    if (sessions.length === 0) {
      const filtered = Object.keys(filter).length > 0 || options.after !== undefined
      const next = filtered ? `'${programName(io)} list${source.flags}' without a filter shows all` : `record some with '${programName(io)} up --upstream URL'`
      io.stderr.write(`no sessions ${filtered ? 'match ' : ''}in ${source.name}; ${next}\n`)
      return 1
    }
    if (found.length > limit) io.stderr.write(`more sessions: ${programName(io)} list${source.flags} --after ${sessions.at(-1)?.id ?? ''}\n`)
    return 0
  })
}

export function listing(sessions: readonly SessionSummary[], io: CliIo) {
  return { items: sessions, columns: sessionColumns(sessions, () => nowMs(io)), name: (session: SessionSummary) => session.id, data: (session: SessionSummary): unknown => session }
}

function filterOf(options: ListOptions, io: CliIo): SessionFilter {
  const sinceMs = sinceFlag(options.since, nowMs(io))
  return {
    ...(options.workload === undefined ? {} : { workload: options.workload }),
    ...(options.tool === undefined ? {} : { tool: options.tool }),
    ...(options.errors === true ? { errors: true } : {}),
    ...(sinceMs === undefined ? {} : { sinceMs }),
  }
}
