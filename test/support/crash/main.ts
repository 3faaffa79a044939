/** `npm run crash -- [--rounds N] [--seed N]`: progress on stderr; the last line of stdout is one JSON object. Exits with 1 when anything was lost. */

import { parseArgs } from 'node:util'

import { crash } from './crash.ts'

const USAGE = 'usage: npm run crash -- [--rounds N] [--seed N]'

function readNumber(text: string): number {
  const number = Number(text)
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(number)) usage()
  return number
}
function usage(): never {
  console.error(USAGE)
  process.exit(2)
}
function readArguments(): { readonly rounds: string; readonly seed: string } {
  try {
    return parseArgs({ options: { rounds: { type: 'string', default: '50' }, seed: { type: 'string', default: String(Date.now() % 1_000_000) } } }).values
  } catch {
    usage()
  }
}

const { rounds, seed } = readArguments()
try {
  const result = await crash({ rounds: readNumber(rounds), seed: readNumber(seed), onProgress: line => console.error(line) })
  console.log(JSON.stringify(result))
  process.exit(result.lost + result.undeclared + result.brokenVerdicts === 0 ? 0 : 1)
} catch (error) {
  console.error(`error: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\nrepeat with --seed ${seed}`)
  process.exit(1)
}
