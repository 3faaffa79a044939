/** `npm run bench -- record|ship|inject|operate|compare|read [--json] [--quick]`: progress on stderr, the result on stdout; with --json its last line is one JSON object. */

import { runCompareBench } from './compare.ts'
import { runInjectBench } from './inject.ts'
import { runOperateBench } from './operate.ts'
import { runReadBench } from './read.ts'
import { runRecordBench } from './record.ts'
import { runShipBench } from './ship.ts'

const USAGE = 'usage: npm run bench -- record|ship|inject|operate|compare|read [--json] [--quick]'

const BENCHES: Readonly<Record<string, typeof runCompareBench>> = { record: runRecordBench, ship: runShipBench, inject: runInjectBench, operate: runOperateBench, compare: runCompareBench, read: runReadBench }

const args = process.argv.slice(2)
const flags = args.filter(arg => arg.startsWith('--'))
const [name, ...more] = args.filter(arg => !arg.startsWith('--'))
const bench = name !== undefined && more.length === 0 && Object.hasOwn(BENCHES, name) ? BENCHES[name] : undefined
if (bench === undefined || flags.some(flag => flag !== '--json' && flag !== '--quick')) {
  console.error(USAGE)
  process.exit(2)
}
try {
  const result = await bench({ quick: flags.includes('--quick'), say: line => console.error(line) })
  console.log(flags.includes('--json') ? JSON.stringify(result) : JSON.stringify(result, null, 2))
  process.exit(0)
} catch (error) {
  console.error(`error: ${error instanceof Error ? error.message : String(error)}`)
  process.exit(1)
}
