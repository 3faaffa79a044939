/**
 * How far the sink has accepted a writer's frames: `<writer>.shipped` in the spool, two slots that are overwritten in turn.
 * Written in place, because a full disk, which only shipping can empty, has no room for a new file. A torn slot leaves the older one.
 */

import { closeSync, constants, existsSync, openSync, readSync } from 'node:fs'
import { open } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { syncDirectory } from '../../platform/durable-directory.ts'
import { peekLine, positionName } from './log-format.ts'
import { openLogReader } from './log-reader.ts'

/** Where in the spool a record lies, and the chain after it: what a restarted shipper needs to go on. */
export interface Position {
  readonly file: number
  /** Where the record begins and ends. */
  readonly start: number
  readonly offset: number
  /** Last seq that is packed; -1 before the first. */
  readonly seq: number
  /** Chain head after it, hex; null when it is not known. */
  readonly head: string | null
}

export interface PositionFile {
  /** Makes the position durable. Rejects when it cannot: the one before then stands. */
  write(position: Position): Promise<void>
  close(): Promise<void>
}

export const SLOT_BYTES = 512
const CRC_BYTES = 4

/** Slot `generation % 2` is the one to write. */
export function encodeSlot(writer: string, generation: number, position: Position): Buffer {
  const slot = Buffer.alloc(SLOT_BYTES, ' ')
  slot.write(JSON.stringify({ generation, ...position }), 0, 'latin1')
  slot.writeUInt32LE(slotCrc(writer, slot), SLOT_BYTES - CRC_BYTES)
  return slot
}

/** The newer valid slot of a file's bytes. */
export function decodeSlots(writer: string, bytes: Buffer): { readonly generation: number; readonly position: Position } | undefined {
  const slots = [0, SLOT_BYTES].map(at => decodeSlot(writer, bytes.subarray(at, at + SLOT_BYTES))).filter(slot => slot !== undefined)
  return slots.sort((a, b) => b.generation - a.generation)[0]
}

function decodeSlot(writer: string, slot: Buffer): { readonly generation: number; readonly position: Position } | undefined {
  if (slot.length < SLOT_BYTES || slot.readUInt32LE(SLOT_BYTES - CRC_BYTES) !== slotCrc(writer, slot)) return undefined
  // Its CRC says that we wrote it.
  const { generation, file, start, offset, seq, head } = JSON.parse(slot.toString('latin1', 0, SLOT_BYTES - CRC_BYTES)) as Position & { readonly generation: number }
  return { generation, position: { file, start, offset, seq, head } }
}

function slotCrc(writer: string, slot: Buffer): number {
  return crc32(slot.subarray(0, SLOT_BYTES - CRC_BYTES), crc32(`steno-shipped/1/${writer}`))
}

/** A writer's position with the kind of the frame there; undefined when there is none that the log bears out: then all is shipped again. */
export function readPosition(directory: string, writer: string, pathOf: (file: number) => string): { readonly position: Position; readonly kind: string } | undefined {
  const position = readSlots(join(directory, positionName(writer)), writer)?.position
  if (position === undefined || !existsSync(pathOf(position.file))) return undefined
  // A position of another state of the log (a volume put back from a copy) would skip frames that nobody has.
  const reader = openLogReader(pathOf(position.file), writer, position.start)
  try {
    const item = reader.next(position.offset)
    const head = item.kind === 'line' && item.start === position.start && item.end === position.offset ? peekLine(item.line) : undefined
    return head?.seq === position.seq ? { position, kind: head.kind } : undefined
  } finally {
    reader.close()
  }
}

export function openPositionFile(directory: string, writer: string): PositionFile {
  const path = join(directory, positionName(writer))
  let file: FileHandle | undefined
  let generation = (readSlots(path, writer)?.generation ?? 0) + 1

  const create = async (): Promise<FileHandle> => {
    const created = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_DSYNC, 0o600)
    try {
      if ((await created.stat()).size < 2 * SLOT_BYTES) await writeWhole(created, Buffer.alloc(2 * SLOT_BYTES), 0)
      await syncDirectory(directory)
      return created
    } catch (error) {
      await created.close()
      throw error
    }
  }
  return {
    write: async position => {
      file ??= await create()
      await writeWhole(file, encodeSlot(writer, generation, position), (generation % 2) * SLOT_BYTES)
      generation++
    },
    close: async () => {
      await file?.close()
      file = undefined
    },
  }
}

async function writeWhole(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let at = 0; at < bytes.length; ) at += (await file.write(bytes, at, bytes.length - at, position + at)).bytesWritten
}

function readSlots(path: string, writer: string): { readonly generation: number; readonly position: Position } | undefined {
  const bytes = Buffer.alloc(2 * SLOT_BYTES)
  let fd: number
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch {
    return undefined
  }
  try {
    const read = readSync(fd, bytes, 0, bytes.length, 0)
    return decodeSlots(writer, bytes.subarray(0, read))
  } catch {
    return undefined
  } finally {
    closeSync(fd)
  }
}
