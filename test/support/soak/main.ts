/** `npm run soak -- [--minutes N]`: progress on stderr; the last line of stdout is one JSON object. Exits with 1 when a bound is broken. */

import { parseArgs } from 'node:util'

import { soak } from './soak.ts'

function readMinutes(): number {
  try {
    const minutes = Number(parseArgs({ options: { minutes: { type: 'string', default: '30' } } }).values.minutes)
    if (minutes > 0) return minutes
  } catch {
    // Told below.
  }
  console.error('usage: npm run soak -- [--minutes N]')
  process.exit(2)
}

try {
  const result = await soak({ minutes: readMinutes(), onProgress: line => console.error(line) })
  console.log(JSON.stringify(result))
  process.exit(result.failures.length === 0 ? 0 : 1)
} catch (error) {
  console.error(`error: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
  process.exit(1)
}
