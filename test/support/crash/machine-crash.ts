/**
 * What a machine that stops leaves of a folder: all that was synced, and of the rest what chance gives. From the state of the folder
 * before, and the operations since then. The model is that of a journaling file system as its documentation promises it, and no more:
 * - bytes of a file are durable after fsync of that file, or when written with O_DSYNC; of others any sector of 512 bytes may be there or not;
 * - names (create, rename, link, unlink, mkdir) are durable after fsync of their directory; others come in order, up to any moment.
 */

import { chmod, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'

import type { Change, FsEvent } from './fs-events.ts'
import type { Random } from './random.ts'

const SECTOR_BYTES = 512

type Begun = Extract<FsEvent, { readonly step: 'begin' }>

interface PendingWrite {
  readonly position: number
  readonly bytes: Buffer
  /** A file that is emptied when it is opened. */
  readonly truncates: boolean
  ended: boolean
}

/** A file, whatever its names. */
interface Inode {
  durable: Buffer
  pending: PendingWrite[]
}

/** A change of names that is not durable yet. */
interface PendingName {
  readonly directories: readonly string[]
  apply(names: Names): void
}

type NameChange = Extract<Change, { readonly does: 'link' | 'rename' | 'unlink' | 'mkdir' }>

/** Paths of files and folders. */
type Names = Map<string, Inode | 'directory'>

export interface Disk {
  readonly names: Names
}

/** The folder as it is, all of it durable. */
export async function readDisk(root: string): Promise<Disk> {
  const names: Names = new Map()
  const walk = async (folder: string): Promise<void> => {
    names.set(folder, 'directory')
    for (const entry of await readdir(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name)
      if (entry.isDirectory()) await walk(path)
      else names.set(path, { durable: await readFile(path), pending: [] })
    }
  }
  await walk(root)
  return { names }
}

/** Puts in the folder's place what is left of it. */
export async function crashMachine(root: string, before: Disk, events: readonly FsEvent[], random: Random): Promise<void> {
  const left = replay(before, events, random)
  await rm(root, { recursive: true, force: true })
  await mkdir(root, { recursive: true })
  for (const [path, inode] of [...left].sort(([a], [b]) => (a < b ? -1 : 1))) {
    // A folder that is not durable takes what lies in it along.
    if (left.get(dirname(path)) !== 'directory' && path !== root) continue
    if (inode === 'directory') await mkdir(path, { recursive: true })
    else {
      await writeFile(path, inode.durable)
      await chmod(path, 0o600)
    }
  }
}

/** Reads a log of events whose last line may be half. */
export function parseEvents(text: string): FsEvent[] {
  const lines = text.split('\n')
  lines.pop()
  return lines.map(line => JSON.parse(line) as FsEvent)
}

function replay(before: Disk, events: readonly FsEvent[], random: Random): Names {
  /** As the program sees it, and as the disk holds it. */
  const live: Names = new Map(before.names)
  const durable: Names = new Map(before.names)
  const begun = new Map<string, { readonly event: Begun; readonly write?: PendingWrite }>()
  const open = new Map<number, { readonly inode: Inode | 'directory'; readonly path: string }>()
  let pendingNames: PendingName[] = []

  const name = (pending: PendingName): void => {
    pending.apply(live)
    pendingNames.push(pending)
  }
  const begin = (event: Begun): PendingWrite | undefined => {
    if (event.does !== 'write') return undefined
    const inode = open.get(event.fd)?.inode
    if (inode === undefined || inode === 'directory') return undefined
    const bytes = 'zeros' in event ? Buffer.alloc(event.zeros) : Buffer.from(event.data, 'base64')
    const write = { position: event.position, bytes, truncates: false, ended: false }
    inode.pending.push(write)
    return write
  }
  const end = (event: Begun, write: PendingWrite | undefined, fd: number | undefined): void => {
    switch (event.does) {
      case 'open':
        if (fd !== undefined) open.set(fd, { inode: opened(event), path: event.path })
        return
      case 'write': {
        if (write === undefined) return
        write.ended = true
        const inode = open.get(event.fd)?.inode
        if (!event.synced || inode === undefined || inode === 'directory') return
        inode.pending = inode.pending.filter(each => each !== write)
        inode.durable = written(inode.durable, write)
        return
      }
      case 'sync': {
        const file = open.get(event.fd)
        if (file === undefined) return
        if (file.inode === 'directory') settleNames(file.path)
        else settleBytes(file.inode)
        return
      }
      default:
        for (const change of nameChanges(event)) name(change)
    }
  }
  const opened = (event: Extract<Change, { readonly does: 'open' }>): Inode | 'directory' => {
    const there = live.get(event.path)
    if (there === 'directory') return there
    if (there !== undefined) {
      if (event.truncate) there.pending.push({ position: 0, bytes: Buffer.alloc(0), truncates: true, ended: true })
      return there
    }
    const fresh: Inode = { durable: Buffer.alloc(0), pending: [] }
    name({ directories: [dirname(event.path)], apply: names => void names.set(event.path, fresh) })
    return fresh
  }
  const settleBytes = (inode: Inode): void => {
    for (const write of inode.pending) if (write.ended) inode.durable = written(inode.durable, write)
    inode.pending = inode.pending.filter(write => !write.ended)
  }
  /** A rename between two directories is one change: what came before it in the other one is durable with it. */
  const settleNames = (directory: string): void => {
    const durableUpTo = new Map([[directory, Infinity]])
    const settled = new Set<PendingName>()
    for (const [at, pending] of [...pendingNames.entries()].reverse()) {
      if (!pending.directories.some(each => (durableUpTo.get(each) ?? -1) > at)) continue
      settled.add(pending)
      for (const each of pending.directories) durableUpTo.set(each, Math.max(durableUpTo.get(each) ?? -1, at))
    }
    for (const pending of [...settled].reverse()) pending.apply(durable)
    pendingNames = pendingNames.filter(pending => !settled.has(pending))
  }
  const nameChanges = (event: NameChange): PendingName[] => {
    if ('path' in event && event.does === 'unlink') return [{ directories: [dirname(event.path)], apply: names => void names.delete(event.path) }]
    if ('path' in event) {
      // With all parents that are missing, each a name in a directory of its own.
      const missing: string[] = []
      for (let path = event.path; !live.has(path); path = dirname(path)) missing.unshift(path)
      return missing.map(path => ({ directories: [dirname(path)], apply: names => void names.set(path, 'directory') }))
    }
    const { from, to, does } = event
    const moved = live.get(from)
    return [
      {
        directories: does === 'rename' ? [dirname(from), dirname(to)] : [dirname(to)],
        apply: names => {
          if (does === 'rename') names.delete(from)
          if (moved !== undefined) names.set(to, moved)
        },
      },
    ]
  }

  for (const event of events) {
    if (event.step === 'begin') {
      const write = begin(event)
      begun.set(event.op, write === undefined ? { event } : { event, write })
    } else if (event.step === 'close') open.delete(event.fd)
    else {
      const operation = begun.get(event.op)
      begun.delete(event.op)
      if (operation !== undefined) end(operation.event, operation.write, event.fd)
    }
  }
  // What had begun may have happened.
  for (const { event } of begun.values()) if (event.does !== 'open' && event.does !== 'write' && event.does !== 'sync') for (const change of nameChanges(event)) name(change)

  const survivors = random.chance(0.5) ? 0 : random.below(pendingNames.length + 1)
  for (const pending of pendingNames.slice(0, survivors)) pending.apply(durable)
  const bare = random.chance(0.5)
  for (const inode of new Set(durable.values())) if (inode !== 'directory' && !bare) for (const write of inode.pending) inode.durable = torn(inode.durable, write, random)
  return durable
}

function written(bytes: Buffer, { position, bytes: data, truncates }: PendingWrite): Buffer {
  if (truncates) return Buffer.alloc(0)
  const end = position + data.length
  const all = end > bytes.length ? Buffer.concat([bytes, Buffer.alloc(end - bytes.length)]) : bytes
  data.copy(all, position)
  return all
}

/** Each sector of it is there or not. */
function torn(bytes: Buffer, write: PendingWrite, random: Random): Buffer {
  if (write.truncates) return random.chance(0.5) ? Buffer.alloc(0) : bytes
  let left = bytes
  for (let at = 0; at < write.bytes.length; ) {
    const length = Math.min(write.bytes.length - at, SECTOR_BYTES - ((write.position + at) % SECTOR_BYTES))
    if (random.chance(0.5)) left = written(left, { ...write, position: write.position + at, bytes: write.bytes.subarray(at, at + length) })
    at += length
  }
  return left
}
