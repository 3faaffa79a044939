/** Firehose below a program that is killed: the double of AWS, failing in every way in a third of the calls, and what it delivered as a folder. */

import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate as nextTurn, setTimeout as wait } from 'node:timers/promises'

import { readMemberHeader } from '../../../src/record/member.ts'
import { startAwsDouble, STATIC_KEYS, STREAM } from '../aws/double.ts'
import type { Fault } from '../aws/double.ts'
import { awsEnvironment } from '../aws/environment.ts'
import type { Random } from './random.ts'

export interface FirehoseGround {
  /** What has been delivered, one file an object. */
  readonly archive: string
  readonly flags: readonly string[]
  readonly env: NodeJS.ProcessEnv
  /** Brings the folder up to date. */
  collect(): Promise<void>
  /** No more faults. */
  calm(): void
  /** Resolves when what came has been taken or refused. */
  settled(): Promise<void>
  close(): Promise<void>
}

const FAULTY = 0.3
/** What an answer may take. */
export const SLOW_MS = 60

/** @param faults `often`: in every way, in a third of the calls; `slow`: each call takes a while, and is taken */
export async function openFirehoseGround(random: Random, archive: string, faults: 'often' | 'slow' = 'often'): Promise<FirehoseGround> {
  const aws = await startAwsDouble()
  const holds = new Set<Promise<unknown>>()
  const hold = (): Fault => {
    const until = wait(random.below(SLOW_MS))
    holds.add(until)
    return { type: 'hold', until: until.then(() => holds.delete(until)) }
  }
  aws.fault = () => (faults === 'slow' ? hold() : random.chance(FAULTY) ? (drawFault(random) ?? hold()) : undefined)
  const collected = new Set<string>()
  return {
    archive,
    flags: ['--sink', `firehose://${STREAM}?region=us-east-1&endpoint=${aws.endpoint}`],
    env: awsEnvironment({ AWS_ACCESS_KEY_ID: STATIC_KEYS.id, AWS_SECRET_ACCESS_KEY: STATIC_KEYS.secret }),
    collect: async () => {
      for (const [key, versions] of aws.bucket.keys) {
        const bytes = versions[0]?.bytes
        if (bytes === undefined || collected.has(key)) continue
        const header = readMemberHeader(bytes)
        if (typeof header !== 'object') throw new Error(`Firehose delivered what is no member: ${key}`)
        const { writer, firstSeq, lastSeq } = header.index
        // The same segment may have come twice.
        const folder = join(archive, String(collected.size))
        await mkdir(folder, { recursive: true })
        await writeFile(join(folder, `${writer}-${firstSeq}-${lastSeq}.jsonl.gz`), bytes)
        collected.add(key)
      }
    },
    calm: () => {
      aws.fault = undefined
    },
    settled: async () => {
      while (holds.size > 0) await Promise.all(holds)
      // What was held is taken in the turn after.
      await nextTurn()
    },
    close: aws.close,
  }
}

/** Undefined: it is held. */
function drawFault(random: Random): Fault | undefined {
  const kind = random.next()
  if (kind < 0.3) return { type: 'reset', accept: random.chance(0.5) }
  if (kind < 0.5) return { type: 'partial', fails: () => random.chance(0.5) }
  if (kind < 0.7) return { type: 'refuse', status: 503, code: 'ServiceUnavailableException' }
  if (kind < 0.8) return { type: 'refuse', status: 400, code: 'ExpiredTokenException' }
  return undefined
}
