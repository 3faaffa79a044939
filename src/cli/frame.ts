/** `steno frame ID WRITER.SEQ`: one frame in full, its body whole again, pretty or exactly as it was. */

import { StenoError } from '../errors.ts'
import { joinBody } from '../record/body-text.ts'
import type { JoinedBody } from '../record/body-text.ts'
import type { Frame, FrameOf } from '../record/frame.ts'
import { indentJson } from '../record/indent-json.ts'
import type { SessionSummary } from '../record/recording.ts'
import { parseFrameRef } from './frame-ref.ts'
import { programName } from './io.ts'
import type { CliIo, ExitCode } from './io.ts'
import type { OutputOptions } from './output.ts'
import { escapeJson, printableJson, printableLines } from './printable.ts'
import { sizeText } from './quantity.ts'
import { framesOf, sessionOf, withSource } from './source.ts'
import type { Source, SourceOptions } from './source.ts'
import { describeLines } from './table.ts'
import { write } from './write.ts'
import { toYaml } from './yaml.ts'

export interface FrameOptions extends SourceOptions, OutputOptions {
  readonly raw?: boolean
}

/** @param names session and frame; the frame alone where the source holds one session */
export async function runFrame(names: readonly string[], options: FrameOptions, io: CliIo): Promise<ExitCode> {
  const ref = names.at(-1)
  if (ref === undefined || names.length > 2) throw new StenoError('usage.invalid', `name a session and a frame: '${programName(io)} frame ID WRITER.SEQ'`)
  const id = names.length === 2 ? names[0] : undefined
  return withSource(options, io, async source => {
    const session = await sessionOf(source, id, options, io)
    const { writer, seq } = parseFrameRef(ref, session)
    const stored = await source.recording.frame(writer, seq)
    const show = `'${programName(io)} show${source.flags} ${session.id} --all' lists its frames`
    if (stored === undefined) throw new StenoError('recording.not-found', `no frame ${writer}.${seq} in ${source.name}; ${show}`)
    if (stored.frame.session !== undefined && stored.frame.session !== session.id) throw new StenoError('recording.not-found', `frame ${writer}.${seq} belongs to session ${stored.frame.session}, not to ${session.id}; ${show}`)
    const body = await bodyOf(stored.frame, source, session, io)
    if (options.raw === true) await writeRaw(body, io)
    else if (options.output === 'name') await write(io.stdout, `${writer}.${seq}\n`)
    else if (options.output === 'json' || options.output === 'jsonl') await write(io.stdout, `${printableJson(frameData(stored.frame, body), options.output === 'json' ? 2 : undefined)}\n`)
    else if (options.output === 'yaml') await write(io.stdout, toYaml(frameData(stored.frame, body)))
    else await write(io.stdout, `${frameLines(stored.frame, body).join('\n')}\n`)
    if (body === undefined || body.whole) return 0
    io.stderr.write(`note: the end of the body is not in the recording; ${body.parts.length} of its parts are\n`)
    return 1
  })
}

async function bodyOf(frame: Frame, source: Source, session: SessionSummary, io: CliIo): Promise<JoinedBody | undefined> {
  if (frame.kind === 'body') return { parts: [frame], whole: true, ...(frame.body === undefined ? {} : { text: frame.body }) }
  if (frame.kind !== 'mcp' && frame.kind !== 'http') return undefined
  const parts: FrameOf<'body'>[] = []
  if (frame.more === true) {
    for await (const { frame: each } of framesOf(source, session, io)) {
      if (each.kind !== 'body' || each.writer !== frame.writer || each.of !== frame.seq) continue
      parts.push(each)
      if (each.last === true) break
    }
  }
  return joinBody(frame, parts)
}

/** The bytes as they were, unless they would go to a terminal, which obeys some of them. */
async function writeRaw(body: JoinedBody | undefined, io: CliIo): Promise<void> {
  if (body === undefined) throw new StenoError('usage.invalid', 'this frame has no body; leave --raw out')
  if (io.stdout.isTTY === true) {
    io.stderr.write('note: control characters are shown escaped on a terminal; redirect the output for the exact bytes\n')
    const bytes = Buffer.concat(body.parts.map(partBytes))
    return write(io.stdout, `${printableLines(bytes.toString('utf8'))}\n`)
  }
  for (const part of body.parts) await write(io.stdout, partBytes(part))
}

function partBytes(part: { readonly body?: string; readonly base64?: string }): Buffer {
  return part.base64 === undefined ? Buffer.from(part.body ?? '') : Buffer.from(part.base64, 'base64')
}

function frameData(frame: Frame, body: JoinedBody | undefined): unknown {
  if (body === undefined || body.parts.length === 1) return frame
  const { body: _text, base64: _bytes, ...rest } = frame as Frame & { body?: string; base64?: string }
  const joined = body.text === undefined ? { base64: Buffer.concat(body.parts.map(partBytes)).toString('base64') } : { body: body.text }
  return { ...rest, ...(body.bytes === undefined ? {} : { bytes: body.bytes }), ...(body.sha256 === undefined ? {} : { sha256: body.sha256 }), ...joined }
}

function frameLines(frame: Frame, body: JoinedBody | undefined): readonly string[] {
  const fields = Object.entries(frame).filter(([key]) => key !== 'body' && key !== 'base64' && key !== 'more' && key !== 'bytes')
  const described = fields.map(([key, value]) => [key, typeof value === 'string' ? value : JSON.stringify(value)] as const)
  if (body === undefined) return describeLines(described)
  const size = body.bytes === undefined ? undefined : body.bytes < 1000 ? String(body.bytes) : `${body.bytes} (${sizeText(body.bytes)})`
  return [...describeLines([...described, ['bytes', size], ['parts', String(body.parts.length)], ...(body.sha256 === undefined ? [] : [['sha256', body.sha256] as const])]), '', bodyText(body)]
}

function bodyText(body: JoinedBody): string {
  if (body.text === undefined) return 'The body is not text; --raw writes its bytes.'
  if (body.text === '') return 'The body is empty.'
  const laidOut = indentJson(body.text)
  return laidOut === undefined ? printableLines(body.text) : escapeJson(laidOut)
}
