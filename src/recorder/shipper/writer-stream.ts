/**
 * The way of one writer's frames from the spool to the sink: reads its log files in order, packs, remembers how far the sink has accepted.
 * The position is durable before a file is removed; a stale one only makes duplicates.
 */

import { existsSync, readFileSync, unlinkSync } from 'node:fs'
import { open, rename, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { chainStart } from '../../record/chain.ts'
import { peekLine } from '../spool/log-format.ts'
import { openLogReader } from '../spool/log-reader.ts'
import type { LogReader } from '../spool/log-reader.ts'
import { syncDirectory } from '../spool/spool-fs.ts'
import { createSegmentBuilder, sha256 } from './segment-builder.ts'
import type { Packed, Position } from './segment-builder.ts'

export interface WriterStream {
  readonly writer: string
  /**
   * Reads on, up to `budget` bytes.
   * @param durable how far the live writer is; undefined for an earlier one, whose files are complete
   * @returns a full segment, 'more' when there is more to read at once, 'idle' when there is not
   */
  read(durable: { readonly file: number; readonly offset: number } | undefined, budget: number): Packed | 'more' | 'idle'
  /** Closes the segment being built. */
  finish(): Packed | undefined
  /** ms, when the oldest line of the segment being built was read; undefined when there is none. */
  readonly oldestMs: number | undefined
  /** The sink has it: remembers that, removes files that are shipped. @returns bytes of files removed and of records accepted */
  accepted(packed: Packed): Promise<{ readonly freedBytes: number; readonly shippedBytes: number }>
  /** An earlier writer that is wholly shipped: removes all that is left of it. @returns bytes of files removed */
  remove(): Promise<number>
  close(): void
}

export function openWriterStream(options: { readonly directory: string; readonly writer: string; readonly files: readonly number[]; readonly pathOf: (file: number) => string; readonly now: () => number }): WriterStream {
  const { directory, writer, pathOf } = options
  const positionPath = join(directory, `${writer}.shipped`)
  const first: Position = { file: options.files[0] ?? 0, offset: 0, seq: -1, head: Buffer.from(chainStart(sha256, writer)).toString('hex') }
  let shipped = readPosition(positionPath) ?? first
  const builder = createSegmentBuilder(writer, shipped)
  let seq = shipped.seq
  let file = shipped.file
  let reader: LogReader | undefined
  let readerFrom = shipped.offset
  let oldestMs: number | undefined
  let lost = false
  /** A packed segment that must go out before the line that was read. */
  let held: { readonly line: Buffer; readonly about: { seq: number; session: string | undefined; file: number; offset: number } } | undefined
  /** Bytes of records read but not accepted, by the seq at their end. */
  let removedUpTo = Math.min(file, first.file)
  let acceptedBytes = { file: shipped.file, offset: shipped.offset }

  const fileExists = (number: number): boolean => existsSync(pathOf(number))
  const add = (line: Buffer, about: { seq: number; session: string | undefined; file: number; offset: number }): Packed | undefined => {
    oldestMs ??= options.now()
    seq = about.seq
    const packed = builder.add(line, about)
    if (packed !== undefined) oldestMs = options.now()
    return packed
  }

  return {
    writer,
    read: (durable, budget) => {
      if (held !== undefined) {
        const { line, about } = held
        held = undefined
        builder.lose({ file: about.file, offset: about.offset, seq: about.seq - 1, head: null })
        lost = true
        const packed = add(line, about)
        if (packed !== undefined) return packed
      }
      for (let read = 0; read < budget; ) {
        if (durable !== undefined && file > durable.file) return 'idle'
        if (reader === undefined) {
          if (!fileExists(file)) {
            if (durable === undefined || file >= durable.file) return 'idle'
            file++
            readerFrom = 0
            continue
          }
          reader = openLogReader(pathOf(file), writer, readerFrom)
        }
        const item = reader.next(durable !== undefined && durable.file === file ? durable.offset : Infinity)
        if (item.kind === 'line') {
          read += item.line.length
          const peeked = peekLine(item.line)
          // Written twice after a failed write, or read again after a stale position.
          if (peeked === undefined || peeked.seq <= seq) continue
          // The window that the line lies in is read over; the builder keeps lines until their block is full.
          const line = Buffer.from(item.line)
          const about = { seq: peeked.seq, session: peeked.session, file, offset: item.end }
          if (peeked.seq !== seq + 1 && !lost) {
            held = { line, about }
            const packed = builder.finish()
            if (packed !== undefined) return packed
            return 'more'
          }
          if (peeked.seq !== seq + 1) {
            held = { line, about }
            const packed = builder.finish()
            return packed ?? 'more'
          }
          const packed = add(line, about)
          if (packed !== undefined) return packed
        } else if (item.kind === 'end') {
          const over = durable === undefined ? fileExists(file + 1) : file < durable.file
          if (!over) return 'idle'
          reader.close()
          reader = undefined
          file++
          readerFrom = 0
        }
      }
      return 'more'
    },
    finish: () => {
      const packed = builder.finish()
      oldestMs = builder.pending ? options.now() : undefined
      return packed
    },
    get oldestMs() {
      return builder.pending ? oldestMs : undefined
    },
    accepted: async packed => {
      shipped = packed.end
      await writePosition(positionPath, directory, shipped)
      let freedBytes = 0
      let shippedBytes = 0
      for (let number = acceptedBytes.file; number < shipped.file; number++) {
        shippedBytes += Math.max(0, (await sizeOf(pathOf(number))) - (number === acceptedBytes.file ? acceptedBytes.offset : 0))
      }
      shippedBytes += shipped.offset - (shipped.file === acceptedBytes.file ? acceptedBytes.offset : 0)
      acceptedBytes = { file: shipped.file, offset: shipped.offset }
      for (; removedUpTo < shipped.file; removedUpTo++) freedBytes += await removeFile(pathOf(removedUpTo))
      return { freedBytes, shippedBytes }
    },
    remove: async () => {
      reader?.close()
      reader = undefined
      let freedBytes = 0
      for (const number of options.files) freedBytes += await removeFile(pathOf(number))
      await unlink(positionPath).catch(() => {})
      await syncDirectory(directory)
      return freedBytes
    },
    close: () => {
      reader?.close()
      reader = undefined
    },
  }
}

async function sizeOf(path: string): Promise<number> {
  return await stat(path).then(
    found => found.size,
    () => 0,
  )
}

async function removeFile(path: string): Promise<number> {
  const bytes = await sizeOf(path)
  await unlink(path).catch(() => {})
  return bytes
}

function readPosition(path: string): Position | undefined {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
  try {
    const parsed: unknown = JSON.parse(text)
    if (typeof parsed !== 'object' || parsed === null || !('file' in parsed) || !('offset' in parsed) || !('seq' in parsed) || !('head' in parsed)) throw new Error('fields are missing')
    const { file, offset, seq, head } = parsed
    if (typeof file !== 'number' || typeof offset !== 'number' || typeof seq !== 'number' || (head !== null && !/^[0-9a-f]{64}$/.test(String(head)))) throw new Error('fields are invalid')
    return { file, offset, seq, head: head === null ? null : String(head) }
  } catch {
    // Ships everything again: duplicates are allowed, loss is not.
    unlinkSync(path)
    return undefined
  }
}

async function writePosition(path: string, directory: string, position: Position): Promise<void> {
  const draft = `${path}.part`
  const file = await open(draft, 'w', 0o600)
  try {
    await file.writeFile(JSON.stringify(position))
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(draft, path)
  await syncDirectory(directory)
}
