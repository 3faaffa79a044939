/**
 * `npm run crash -- [--rounds N] [--seed N] [--sink directory|firehose] [--lose-node [--durability off-pod|local] [--linger SECONDS]]`: progress on stderr; the
 * last line of stdout is one JSON object. Exits with 1 when anything was lost that must not be.
 */

import { parseArgs } from 'node:util'

import { crash } from './crash.ts'
import { loseNodes } from './lost-nodes.ts'

const USAGE = 'usage: npm run crash -- [--rounds N] [--seed N] [--sink directory|firehose] [--lose-node [--durability off-pod|local] [--linger SECONDS]]'
/** What a machine that is busy with the harness itself may add to what is promised. */
const SLACK_MS = 1_000

function readNumber(text: string): number {
  const number = Number(text)
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(number)) usage()
  return number
}
function usage(): never {
  console.error(USAGE)
  process.exit(2)
}
interface Arguments {
  readonly rounds: string
  readonly seed: string
  readonly sink: string
  readonly 'lose-node': boolean
  readonly durability: string
  readonly linger: string
}
function readArguments(): Arguments {
  const text = (value: string) => ({ type: 'string', default: value }) as const
  try {
    return parseArgs({ options: { rounds: text('50'), seed: text(String(Date.now() % 1_000_000)), sink: text('directory'), 'lose-node': { type: 'boolean', default: false }, durability: text(''), linger: text('1') } }).values
  } catch {
    usage()
  }
}

const { rounds, seed, sink, 'lose-node': loseNode, durability, linger } = readArguments()
if ((sink !== 'directory' && sink !== 'firehose') || (durability !== '' && !loseNode)) usage()
const options = { rounds: readNumber(rounds), seed: readNumber(seed), onProgress: (line: string) => console.error(line) }

/** @returns whether nothing is wrong */
async function run(): Promise<boolean> {
  if (durability === 'local') {
    if (sink !== 'firehose') usage()
    const result = await loseNodes({ ...options, lingerSeconds: readNumber(linger) })
    console.log(JSON.stringify(result))
    return result.problems.length === 0 && result.oldestLostMs <= result.promisedMs + SLACK_MS
  }
  if (durability !== '' && durability !== 'off-pod') usage()
  const result = await crash({ ...options, sink: sink === 'firehose' ? sink : 'directory', loseNode })
  console.log(JSON.stringify(result))
  return result.lost + result.undeclared + result.brokenVerdicts === 0
}

try {
  process.exit((await run()) ? 0 : 1)
} catch (error) {
  console.error(`error: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\nrepeat with --seed ${seed}`)
  process.exit(1)
}
