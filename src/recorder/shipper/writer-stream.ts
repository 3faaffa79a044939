/**
 * The way of one writer's frames from the spool to the sink: reads its log files in order, packs, remembers how far the sink has accepted.
 * The position is durable before a file is removed, where it can be; else it may be a little old: that only makes duplicates.
 */

import { existsSync } from 'node:fs'
import { unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { syncDirectory } from '../../platform/durable-directory.ts'
import { errorCode } from '../../platform/error-code.ts'
import { chainStart } from '../../record/chain.ts'
import { listLogs } from '../spool/list-logs.ts'
import { peekLine, positionName } from '../spool/log-format.ts'
import { openLogReader } from '../spool/log-reader.ts'
import type { LogReader } from '../spool/log-reader.ts'
import { openPositionFile, readPosition } from '../spool/position-file.ts'
import { createSegmentBuilder, sha256 } from './segment-builder.ts'
import type { AboutLine, Packed } from './segment-builder.ts'

/** A place in a writer's log. */
export interface LogPlace {
  readonly file: number
  readonly offset: number
}

export interface WriterStream {
  readonly writer: string
  /**
   * Reads on, up to `budget` bytes.
   * @param durable how far the live writer is; undefined for an earlier one, whose files are complete
   * @returns a full segment, 'more' when there is more to read at once, 'idle' when there is not
   */
  read(durable: LogPlace | undefined, budget: number): Packed | 'more' | 'idle'
  /** Closes the segment being built. */
  finish(): Packed | undefined
  /** ms, when the oldest line of the segment being built was read; undefined when there is none. */
  readonly oldestMs: number | undefined
  /** About the size of the segment being built. */
  readonly pendingBytes: number
  /** The sink has it: writes that down, unless that was done a moment ago, and removes files that are shipped. @returns why the position could not be made durable, if so */
  accepted(packed: Packed): Promise<unknown>
  /** The writer is wholly shipped: removes all that is left of it. */
  remove(): Promise<void>
  /** Writes the position down, where that is owed. */
  close(): Promise<void>
}

/** So long a position may be owed: with off-pod, where each release is a segment, a synced write for each would hold up the next. */
const POSITION_MS = 200

export interface WriterStreamOptions {
  readonly directory: string
  readonly writer: string
  /** Its log files, in order. Numbers may be missing: a file that could not be created, or was given up, leaves its number unused. */
  readonly files: readonly number[]
  readonly pathOf: (file: number) => string
  /** ms, from any start; it must not step. */
  readonly now: () => number
  /** ms that the first line has waited to be read; 0 without it. */
  readonly waitedMs?: number
  /** As `Sink.level`. */
  readonly level: number
  /** Frames are missing between two that are there. */
  readonly onHole: (fromSeq: number, toSeq: number) => void
}

export function openWriterStream(options: WriterStreamOptions): WriterStream {
  const { directory, writer, files, pathOf } = options
  const shipped = readPosition(directory, writer, pathOf)?.position
  const builder = createSegmentBuilder(writer, shipped ?? { seq: -1, head: Buffer.from(chainStart(sha256, writer)).toString('hex') }, options.level)
  const positionFile = openPositionFile(directory, writer)
  let seq = shipped?.seq ?? -1
  let file = shipped?.file ?? files[0] ?? 0
  let from = shipped?.offset ?? 0
  let reader: LogReader | undefined
  let oldestMs: number | undefined
  let { waitedMs = 0 } = options
  /** Passed over since the last line. */
  let damagedBytes = 0
  /** First line after a hole. What came before it goes out in a segment of its own, then this one. */
  let afterHole: { readonly line: Buffer; readonly about: AboutLine } | undefined
  let kept = Math.min(file, files[0] ?? file)
  /** ms, when the position was last made durable. */
  let writtenMs: number | undefined
  /** Accepted since. */
  let owed: Packed['end'] | undefined

  const add = (line: Buffer, about: AboutLine): Packed | undefined => {
    oldestMs ??= options.now() - waitedMs
    waitedMs = 0
    seq = about.seq
    damagedBytes = 0
    const packed = builder.add(line, about)
    if (packed !== undefined) oldestMs = options.now()
    return packed
  }
  const finish = (): Packed | undefined => {
    const packed = builder.finish()
    oldestMs = builder.pending ? options.now() : undefined
    return packed
  }
  const writePosition = async (end: Packed['end']): Promise<unknown> => {
    owed = undefined
    try {
      await positionFile.write(end)
      writtenMs = options.now()
      return undefined
    } catch (error) {
      return error ?? new Error('unknown error')
    }
  }
  /** A file in which nothing was ever confirmed is removed by the log writer, at any moment. */
  const openIfThere = (): LogReader | undefined => {
    try {
      return openLogReader(pathOf(file), writer, from)
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return undefined
      throw error
    }
  }
  /** The file to read after this one; undefined when there is none, or none yet. */
  const fileAfter = (number: number, durable: LogPlace | undefined): number | undefined => {
    if (durable === undefined) return files.find(each => each > number)
    for (let next = number + 1; next <= durable.file; next++) if (existsSync(pathOf(next))) return next
    return undefined
  }
  /** Goes on to the next file. False when there is none, or none yet. */
  const goOn = (durable: LogPlace | undefined): boolean => {
    const next = fileAfter(file, durable)
    if (next === undefined) return false
    reader?.close()
    reader = undefined
    file = next
    from = 0
    return true
  }

  return {
    writer,
    read: (durable, budget) => {
      if (afterHole !== undefined) {
        const before = finish()
        if (before !== undefined) return before
        const { line, about } = afterHole
        afterHole = undefined
        // Of an earlier writer, without a position and without damage, files are gone because they were shipped. Of the live one, whoever hears of it knows.
        if (seq >= 0 || damagedBytes > 0 || durable !== undefined) options.onHole(seq + 1, about.seq - 1)
        builder.lose(about.seq)
        add(line, about)
      }
      for (let read = 0; read < budget; ) {
        reader ??= openIfThere()
        if (reader === undefined) {
          if (!goOn(durable)) return 'idle'
          continue
        }
        const item = reader.next(durable !== undefined && durable.file <= file ? (durable.file === file ? durable.offset : 0) : Infinity)
        if (item.kind === 'end') {
          if (!goOn(durable)) return 'idle'
          damagedBytes += item.bytes
          continue
        }
        if (item.kind === 'damage') {
          read += item.bytes
          damagedBytes += item.bytes
          continue
        }
        read += item.line.length
        const peeked = peekLine(item.line)
        // Written twice after a failed write, or read again after a stale position.
        if (peeked === undefined || peeked.seq <= seq) continue
        const about = { seq: peeked.seq, session: peeked.session, file, start: item.start, offset: item.end }
        if (about.seq !== seq + 1) {
          // The window that the line lies in is read over.
          afterHole = { line: Buffer.from(item.line), about }
          return 'more'
        }
        const packed = add(item.line, about)
        if (packed !== undefined) return packed
      }
      return 'more'
    },
    finish,
    get oldestMs() {
      return builder.pending ? oldestMs : undefined
    },
    get pendingBytes() {
      return builder.pendingBytes
    },
    accepted: async packed => {
      if (packed.end.file <= kept && writtenMs !== undefined && options.now() - writtenMs < POSITION_MS) {
        owed = packed.end
        return undefined
      }
      const problem = await writePosition(packed.end)
      // Even without it: what is accepted is safe, and on a full disk only this makes room.
      for (; kept < packed.end.file; kept++) await unlink(pathOf(kept)).catch(() => {})
      return problem
    },
    remove: async () => {
      reader?.close()
      reader = undefined
      owed = undefined
      await positionFile.close()
      // The newest first: while the file that the position points into is there, nothing is shipped again.
      for (const number of (listLogs(directory).get(writer) ?? []).toReversed()) await unlink(pathOf(number)).catch(() => {})
      await unlink(join(directory, positionName(writer))).catch(() => {})
      await syncDirectory(directory)
    },
    close: async () => {
      reader?.close()
      reader = undefined
      // Where it cannot be written, some segments go out again.
      if (owed !== undefined) await writePosition(owed)
      await positionFile.close()
    },
  }
}
