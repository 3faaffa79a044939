/** `npm run crash -- [--rounds N] [--seed N] [--sink directory|firehose] [--lose-node]`: progress on stderr; the last line of stdout is one JSON object. Exits with 1 when anything was lost. */

import { parseArgs } from 'node:util'

import { crash } from './crash.ts'

const USAGE = 'usage: npm run crash -- [--rounds N] [--seed N] [--sink directory|firehose] [--lose-node]'

function readNumber(text: string): number {
  const number = Number(text)
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(number)) usage()
  return number
}
function usage(): never {
  console.error(USAGE)
  process.exit(2)
}
function readArguments(): { readonly rounds: string; readonly seed: string; readonly sink: string; readonly 'lose-node': boolean } {
  try {
    return parseArgs({ options: { rounds: { type: 'string', default: '50' }, seed: { type: 'string', default: String(Date.now() % 1_000_000) }, sink: { type: 'string', default: 'directory' }, 'lose-node': { type: 'boolean', default: false } } }).values
  } catch {
    usage()
  }
}

const { rounds, seed, sink, 'lose-node': loseNode } = readArguments()
if (sink !== 'directory' && sink !== 'firehose') usage()
try {
  const result = await crash({ rounds: readNumber(rounds), seed: readNumber(seed), sink, loseNode, onProgress: line => console.error(line) })
  console.log(JSON.stringify(result))
  process.exit(result.lost + result.undeclared + result.brokenVerdicts === 0 ? 0 : 1)
} catch (error) {
  console.error(`error: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\nrepeat with --seed ${seed}`)
  process.exit(1)
}
