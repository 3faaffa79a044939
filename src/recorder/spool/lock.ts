/** One recorder per spool directory. Node has no flock; the lock is a file that names its owner, and a dead owner's is taken over. */

import { linkSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { StenoError } from '../../errors.ts'
import { errorCode } from '../../platform/error-code.ts'

const TRIES = 5

/** @returns a function that gives the lock back */
export function lockSpool(directory: string, pid: number): () => void {
  const path = join(directory, 'lock')
  const own = JSON.stringify({ pid, boot: bootId(), started: statOf(pid).started })
  const draft = join(directory, `.lock-${pid}`)
  try {
    removeDrafts(directory)
    writeFileSync(draft, own, { mode: 0o600 })
    for (let left = TRIES; left > 0; left--) {
      try {
        // link() either makes the whole lock or nothing: no reader ever sees half of it.
        linkSync(draft, path)
        return () => {
          if (readOrEmpty(path) === own) removeIfPossible(path)
        }
      } catch (error) {
        if (errorCode(error) !== 'EEXIST') throw error
      }
      const found = readOrEmpty(path)
      const owner = parseOwner(found)
      if (owner !== undefined && isAlive(owner)) {
        throw new StenoError('spool.locked', `the spool ${directory} is in use by process ${owner.pid}; stop that recorder or give another directory with --spool`)
      }
      setAside(path, found, `${draft}-stale`)
    }
    throw new StenoError('spool.locked', `the spool ${directory} is being taken by another recorder; give another directory with --spool`)
  } finally {
    rmSync(draft, { force: true })
  }
}

/** Takes a dead owner's lock away. Two who found it may do so at once: whoever comes second has the first one's lock in hand, and puts it back. */
function setAside(path: string, dead: string, aside: string): void {
  try {
    renameSync(path, aside)
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return
    throw error
  }
  try {
    if (readFileSync(aside, 'utf8') !== dead) linkSync(aside, path)
  } catch (error) {
    if (errorCode(error) !== 'EEXIST') throw error
  } finally {
    rmSync(aside, { force: true })
  }
}

/** What processes left that were killed while they took the lock. One that lives may be at it now. */
function removeDrafts(directory: string): void {
  for (const name of readdirSync(directory)) {
    const pid = DRAFT_NAME.exec(name)?.[1]
    if (pid !== undefined && statOf(Number(pid)).state === '') rmSync(join(directory, name), { force: true })
  }
}

const DRAFT_NAME = /^\.lock-(\d+)(?:-stale)?$/

/** On a disk that has become read-only the lock stays. Its owner is dead then, and the next one takes it over. */
function removeIfPossible(path: string): void {
  try {
    rmSync(path, { force: true })
  } catch {}
}

interface Owner {
  readonly pid: number
  readonly boot: string
  readonly started: string
}

function parseOwner(text: string): Owner | undefined {
  try {
    const parsed: unknown = JSON.parse(text)
    if (typeof parsed !== 'object' || parsed === null || !('pid' in parsed) || !('boot' in parsed) || !('started' in parsed)) return undefined
    return { pid: Number(parsed.pid), boot: String(parsed.boot), started: String(parsed.started) }
  } catch {
    return undefined
  }
}

function isAlive(owner: Owner): boolean {
  if (!Number.isSafeInteger(owner.pid) || owner.pid <= 0) return false
  const boot = bootId()
  if (boot !== '' && owner.boot !== boot) return false
  const { started, state } = statOf(owner.pid)
  // Ended, and nobody has asked how: it holds nothing any more.
  if (state === 'Z' || state === 'X') return false
  // A container restart gives the same pid to another process: its start time tells.
  if (started !== '' && owner.started !== '') return started === owner.started
  try {
    process.kill(owner.pid, 0)
    return true
  } catch (error) {
    return errorCode(error) === 'EPERM'
  }
}

function bootId(): string {
  return readOrEmpty('/proc/sys/kernel/random/boot_id').trim()
}

/** Fields 3 and 22 of /proc/PID/stat (proc(5)); the name before them may hold spaces and brackets. */
function statOf(pid: number): { readonly state: string; readonly started: string } {
  const stat = readOrEmpty(`/proc/${pid}/stat`)
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return { state: fields[0] ?? '', started: fields[19] ?? '' }
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
