/**
 * The policies of a pod as files that the kubelet keeps up to date: `FOLDER/NAME/policy.json`. Looked at every few seconds.
 * A file that is missing, cut or of another version changes nothing: the last good policy stays, and it is said.
 */

import { open } from 'node:fs/promises'
import { join } from 'node:path'

import { errorCode } from '../platform/error-code.ts'
import type { Log } from '../platform/log.ts'
import { POLICY_FILE, readCompiled } from '../policy/compile.ts'
import type { RecorderPolicy } from '../policy/compile.ts'

export interface MountedPoliciesOptions {
  /** Undefined: the policies stay as they are. */
  readonly folder: string | undefined
  /** As the pod was made with them, in the order of their names; at least one. */
  readonly made: readonly RecorderPolicy[]
  readonly digest: (text: string) => string
  readonly log: Log
  readonly everyMs?: number
}

export type PolicyFileState = 'current' | 'missing' | 'unreadable'

export interface MountedPolicies {
  /** The last good ones, in the order of their names. */
  readonly current: readonly RecorderPolicy[]
  readonly made: readonly RecorderPolicy[]
  /** How many files there are of each state. */
  readonly states: Readonly<Record<PolicyFileState, number>>
  /** Why what is gone by may not be what the policies say now; undefined when all files are well. */
  readonly problem: string | undefined
  /** Calls back after each look, from now on until `stop`. */
  watch(onLook: () => void): void
  stop(): void
}

/** The kubelet itself follows within a minute or so. */
const EVERY_MS = 5000
/** Of a ConfigMap. */
const MAX_BYTES = 1024 * 1024

/** Takes the first look. */
export async function mountPolicies({ folder, made, digest, log, everyMs = EVERY_MS }: MountedPoliciesOptions): Promise<MountedPolicies> {
  let current = made
  /** By name: why the file is not gone by. */
  const troubles = new Map<string, { readonly state: Exclude<PolicyFileState, 'current'>; readonly why: string }>()

  const readOne = async (known: RecorderPolicy, path: string): Promise<RecorderPolicy> => {
    const read = await readBounded(path).then(
      text => readCompiled(text, digest),
      (error: unknown) => (errorCode(error) === 'ENOENT' ? { missing: true as const } : { problem: error instanceof Error ? error.message : String(error) }),
    )
    const found = 'policy' in read && read.policy.name !== known.name ? { problem: `it is policy ${JSON.stringify(read.policy.name)}` } : read
    if ('policy' in found) {
      if (troubles.delete(known.name)) log.info('the file of a policy is well again', { policy: known.name })
      return found.policy
    }
    const trouble = 'missing' in found ? ({ state: 'missing', why: 'there is no file' } as const) : ({ state: 'unreadable', why: found.problem } as const)
    // Said once each: it may stay so for long.
    if (troubles.get(known.name)?.why !== trouble.why) log.warn('the file of a policy cannot be gone by; the last good policy stays', { code: 'policy.invalid', policy: known.name, file: path, reason: trouble.why })
    troubles.set(known.name, trouble)
    return known
  }
  const look = async (): Promise<void> => {
    if (folder === undefined) return
    current = await Promise.all(current.map(async known => await readOne(known, join(folder, known.name, POLICY_FILE))))
  }

  await look()
  let timer: NodeJS.Timeout | undefined
  let looking = false
  return {
    get current() {
      return current
    },
    made,
    get states() {
      const count = (state: PolicyFileState): number => [...troubles.values()].filter(each => each.state === state).length
      return folder === undefined ? { current: 0, missing: 0, unreadable: 0 } : { current: current.length - troubles.size, missing: count('missing'), unreadable: count('unreadable') }
    },
    get problem() {
      const [first] = troubles
      return first === undefined ? undefined : `policy ${first[0]} stays as it was last read: ${first[1].why}`
    },
    watch: onLook => {
      if (folder === undefined) return
      timer ??= setInterval(() => {
        if (looking) return
        looking = true
        void look().then(() => {
          looking = false
          if (timer !== undefined) onLook()
        })
      }, everyMs)
      timer.unref()
    },
    stop: () => {
      clearInterval(timer)
      timer = undefined
    },
  }
}

/** Rejects when it is not there, or is larger than a ConfigMap. */
async function readBounded(path: string): Promise<string> {
  const file = await open(path)
  try {
    const { size } = await file.stat()
    if (size > MAX_BYTES) throw new Error(`it has ${size} bytes`)
    return await file.readFile('utf8')
  } finally {
    await file.close()
  }
}
