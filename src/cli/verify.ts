/** `steno verify [ID]`: recomputes every hash and says what that proves, never more. Exit 0 verified or consistent, 1 incomplete or broken. */

import { readFile, writeFile } from 'node:fs/promises'

import { makeAnchor, parseAnchor } from '../archive/anchor.ts'
import type { Anchor } from '../archive/anchor.ts'
import { verify } from '../archive/verify.ts'
import { StenoError } from '../errors.ts'
import type { Verdict, VerifyReport, WriterVerdict } from '../record/verdict.ts'
import { nowMs } from './io.ts'
import type { CliIo, ExitCode } from './io.ts'
import { writeListing } from './output.ts'
import type { OutputOptions } from './output.ts'
import { createPaint } from './paint.ts'
import type { Tone } from './paint.ts'
import { printable } from './printable.ts'
import { sessionOf, withSource } from './source.ts'
import type { SourceOptions } from './source.ts'
import type { Column } from './table.ts'

export interface VerifyOptions extends SourceOptions, OutputOptions {
  readonly anchor?: string
  readonly requireAnchor?: boolean
  readonly saveAnchor?: string
}

// Only what is proved is green.
const TONES: Readonly<Record<Verdict, Tone | undefined>> = { verified: 'good', consistent: undefined, incomplete: 'warn', broken: 'bad' }

const COLUMNS: readonly Column<WriterVerdict>[] = [
  { title: 'NAME', cell: each => each.writer },
  { title: 'VERDICT', cell: verdictText, tone: each => TONES[each.verdict] },
  { title: 'FRAMES', cell: each => each.frames },
  { title: 'FIRST', cell: each => (each.frames === 0 ? undefined : each.firstSeq) },
  { title: 'LAST', cell: each => (each.frames === 0 ? undefined : each.lastSeq) },
  { title: 'MISSING', cell: each => each.missing },
  { title: 'HEAD', cell: each => each.head ?? undefined, wide: true },
  { title: 'WHY', cell: each => each.reason, wide: true },
]

export async function runVerify(id: string | undefined, options: VerifyOptions, io: CliIo): Promise<ExitCode> {
  if (options.requireAnchor === true && options.anchor === undefined) throw new StenoError('usage.invalid', '--require-anchor needs the anchor: give --anchor FILE')
  const anchor = options.anchor === undefined ? undefined : await readAnchor(options.anchor)
  return withSource(options, io, async source => {
    const { archive } = source.recording
    const session = id === undefined ? undefined : await sessionOf(source, id, options, io)
    const request = { archive, ...(session === undefined ? {} : { session }), ...(anchor === undefined ? {} : { anchor }) }
    const report = await verify(request, { now: () => nowMs(io) })
    const paint = createPaint(options.color, io)
    await writeListing(
      {
        items: report.writers,
        columns: COLUMNS,
        name: each => each.writer,
        data: each => each,
        document: () => report,
        above: [`${paint(TONES[report.verdict], verdictOf(report))}: ${printable(report.sentence)}`, ...findingLines(report), ''],
      },
      options,
      io,
    )
    if (options.saveAnchor !== undefined) await saveAnchor(options.saveAnchor, report, io)
    if (options.requireAnchor === true && report.verdict !== 'verified') {
      io.stderr.write(`not verified: --require-anchor asks for a recording that the anchor proves\n`)
      return 1
    }
    return report.verdict === 'verified' || report.verdict === 'consistent' ? 0 : 1
  })
}

function verdictOf(report: VerifyReport): string {
  const broken = report.verdict === 'broken' ? report.writers.find(each => each.brokenAt !== undefined) : undefined
  return `${broken === undefined ? report.verdict : `broken at ${printable(broken.writer)}.${broken.brokenAt}`}${report.soFar ? ' so far' : ''}`
}

function verdictText(each: WriterVerdict): string {
  return each.brokenAt === undefined ? each.verdict : `broken at ${each.brokenAt}`
}

function findingLines(report: VerifyReport): readonly string[] {
  const gaps = report.gaps.map(gap => `  gap: frame ${gap.seq} of ${gap.by}: ${gap.reason}${gap.count === undefined ? '' : `, ${gap.count} frames`}${gap.bytes === undefined ? '' : `, ${gap.bytes} bytes`}`)
  const findings = report.findings.map(finding => `  ${finding.reason}: ${finding.object} at byte ${finding.offset}: ${finding.detail}`)
  return [...gaps, ...findings].map(printable)
}

async function readAnchor(path: string): Promise<Anchor> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (cause) {
    throw new StenoError('anchor.invalid', `cannot read the anchor '${path}'; name a file that 'steno verify --save-anchor' wrote`, { cause })
  }
  return parseAnchor(text)
}

/** Never over an older one: an anchor that can be replaced by whoever runs this proves nothing. */
async function saveAnchor(path: string, report: VerifyReport, io: CliIo): Promise<void> {
  const anchor = makeAnchor(report, new Date(nowMs(io)).toISOString())
  if (anchor.writers.length === 0) throw new StenoError('anchor.invalid', 'no writer is whole from its first frame: there is nothing to keep as an anchor')
  try {
    await writeFile(path, `${JSON.stringify(anchor, undefined, 2)}\n`, { flag: 'wx' })
  } catch (cause) {
    throw new StenoError('anchor.invalid', `cannot write the anchor to '${path}': the file exists, or its folder cannot be written to; choose another name`, { cause })
  }
  io.stderr.write(`anchor of ${anchor.writers.length} ${anchor.writers.length === 1 ? 'writer' : 'writers'} saved to ${path}; keep it where the recorder cannot write\n`)
}
