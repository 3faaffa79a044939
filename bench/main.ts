/** `npm run bench -- record [--json] [--quick]`: progress on stderr, the result on stdout; with --json its last line is one JSON object. */

import { runRecordBench } from './record.ts'

const USAGE = 'usage: npm run bench -- record [--json] [--quick]'

const args = process.argv.slice(2)
const flags = args.filter(arg => arg.startsWith('--'))
const names = args.filter(arg => !arg.startsWith('--'))
if (names.length !== 1 || names[0] !== 'record' || flags.some(flag => flag !== '--json' && flag !== '--quick')) {
  console.error(USAGE)
  process.exit(2)
}
try {
  const result = await runRecordBench({ quick: flags.includes('--quick'), say: line => console.error(line) })
  console.log(flags.includes('--json') ? JSON.stringify(result) : JSON.stringify(result, null, 2))
  process.exit(0)
} catch (error) {
  console.error(`error: ${error instanceof Error ? error.message : String(error)}`)
  process.exit(1)
}
