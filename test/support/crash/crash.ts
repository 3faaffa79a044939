/** Many rounds over several grounds, and what they came to. */

import type { Judgement } from './oracle.ts'
import { openGround } from './ground.ts'
import type { GroundOptions } from './ground.ts'
import { createRandom } from './random.ts'

export interface CrashOptions extends Partial<GroundOptions> {
  readonly rounds: number
  /** Of all that is random here, so that a failure can be repeated as far as the machine allows. */
  readonly seed: number
  readonly onProgress: (line: string) => void
}

export interface CrashResult {
  readonly rounds: number
  readonly answersReceived: number
  readonly requestsServed: number
  readonly lost: number
  readonly undeclared: number
  readonly brokenVerdicts: number
  readonly seed: number
  /** Rounds by how they ended. */
  readonly kinds: Readonly<Record<string, number>>
  /** The first of what went wrong. */
  readonly problems: readonly string[]
}

/** A spool and an archive are used for so many rounds: each check reads all of them. */
const ROUNDS_OF_GROUND = 10
const MAX_PROBLEMS = 20

export async function crash({ rounds, seed, onProgress, sink = 'directory', loseNode = false }: CrashOptions): Promise<CrashResult> {
  const kinds: Record<string, number> = {}
  const problems: string[] = []
  const total = { answersReceived: 0, requestsServed: 0, lost: 0, undeclared: 0, brokenVerdicts: 0 }
  const blame = (where: string, { lost, undeclared, broken }: Judgement): boolean => {
    for (const problem of [...lost.map(each => `lost: ${each}`), ...undeclared.map(each => `undeclared: ${each}`), ...broken.map(each => `broken: ${each}`)]) {
      if (problems.length < MAX_PROBLEMS) problems.push(`${where}: ${problem}`)
      onProgress(`${where}: ${problem}`)
    }
    total.lost += lost.length
    total.undeclared += undeclared.length
    total.brokenVerdicts += broken.length > 0 ? 1 : 0
    return lost.length + undeclared.length + broken.length > 0
  }
  let done = 0
  for (let number = 0; done < rounds; number++) {
    // Each ground has a seed of its own: it can be repeated alone.
    const groundSeed = seed + number
    const ground = await openGround(createRandom(groundSeed), { sink, loseNode })
    let seen: Judgement | undefined
    try {
      let bad = false
      for (let round = 0; round < ROUNDS_OF_GROUND && done < rounds && !bad; round++) {
        const { kind, judgement } = await ground.round()
        done++
        kinds[kind] = (kinds[kind] ?? 0) + 1
        if (judgement !== undefined) bad = blame(`seed ${groundSeed}, before round ${round} (${kind})`, judgement)
        seen = judgement ?? seen
      }
      // A ground where something was found is left: the same would be found again after each round.
      if (!bad) {
        seen = await ground.finish()
        blame(`seed ${groundSeed}, at the end`, seen)
      }
    } catch (error) {
      throw new Error(`seed ${groundSeed}: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
    } finally {
      await ground.dispose()
    }
    total.answersReceived += seen?.answersReceived ?? 0
    total.requestsServed += seen?.requestsServed ?? 0
    onProgress(`${done} of ${rounds} rounds: ${total.answersReceived} answers and events received, ${total.requestsServed} requests served, ${total.lost} lost, ${total.undeclared} undeclared, ${total.brokenVerdicts} broken`)
  }
  return { rounds: done, ...total, seed, kinds, problems }
}
