/** `steno play ID`: a session as it happened. On a terminal in its own time, with keys; in a pipe all lines at once. */

import { StenoError } from '../errors.ts'
import { foldRuns } from '../record/fold.ts'
import { MAX_SPEED, MIN_SPEED } from '../record/playhead.ts'
import type { Row } from '../record/row.ts'
import { createTimeline } from '../record/timeline.ts'
import { durationFlag } from './flag.ts'
import { parseFrameRef } from './frame-ref.ts'
import { programName } from './io.ts'
import type { CliIo, ExitCode } from './io.ts'
import { createPaint } from './paint.ts'
import type { ColorMode } from './paint.ts'
import { breakLine, playTogether } from './play-lines.ts'
import { playOnTerminal } from './player.ts'
import { parseDurationMs } from './quantity.ts'
import { gapBanner, rowColumns } from './row-columns.ts'
import { collectFrames, sessionOf, withSource } from './source.ts'
import type { SourceOptions } from './source.ts'
import { createTable } from './table.ts'
import { writeLines } from './write.ts'
import type { SessionSummary } from '../record/recording.ts'

export interface PlayOptions extends SourceOptions {
  readonly speed: string
  readonly maxIdle: string
  /** Frame or offset. */
  readonly from?: string
  readonly all?: boolean
  readonly headers: boolean
  readonly color: ColorMode
}

export async function runPlay(id: string | undefined, options: PlayOptions, io: CliIo): Promise<ExitCode> {
  const speed = speedFlag(options.speed)
  const maxIdleUs = durationFlag('--max-idle', options.maxIdle) * 1000
  return withSource(options, io, async source => {
    const session = await sessionOf(source, id, options, io)
    const timeline = createTimeline()
    await collectFrames(source, session, io, timeline.add)
    const rows = options.all === true ? timeline.rows() : foldRuns(timeline.rows().filter(row => !row.quiet))
    const start = startIndex(options.from, rows, session)
    if (rows[start] === undefined) {
      io.stderr.write(`nothing to play from ${options.from ?? 'the start'}; '${programName(io)} show${source.flags} ${session.id}' lists the frames\n`)
      return 1
    }
    const table = createTable(rows, { columns: rowColumns(session), paint: createPaint(options.color, io), banner: gapBanner })
    if (options.headers) await writeLines(io.stdout, [table.header()])
    if (io.stdout.isTTY === true) return playOnTerminal({ rows, start, line: table.line, speed, maxIdleUs }, io)
    await writeLines(io.stdout, playTogether({ rows, start, line: table.line, mark: breakLine, maxIdleUs }))
    return 0
  })
}

function speedFlag(text: string): number {
  const speed = Number(text.replace(/x$/, ''))
  if (!(speed >= MIN_SPEED && speed <= MAX_SPEED)) throw new StenoError('usage.invalid', `--speed '${text}' is not between ${MIN_SPEED} and ${MAX_SPEED}`)
  return speed
}

/** `12` or `WRITER.12` is a frame, `12s` or `0:12` an offset. The row that shows it, or the first one after it. */
function startIndex(from: string | undefined, rows: readonly Row[], session: SessionSummary): number {
  if (from === undefined) return 0
  const offsetMs = parseDurationMs(from)
  if (offsetMs !== undefined) return orEnd(rows.findIndex(row => row.offsetUs >= offsetMs * 1000), rows)
  const ref = parseFrameRef(from, session)
  return orEnd(rows.findIndex(row => row.frame.writer === ref.writer && row.frame.seq >= ref.seq), rows)
}

function orEnd(index: number, rows: readonly Row[]): number {
  return index < 0 ? rows.length : index
}
