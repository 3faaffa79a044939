/**
 * `npm run fuzz [-- --grep TEXT]`: every property of the tests with 10,000 random cases (FUZZ_RUNS for another count). Prints a line for each
 * property; the last line is one JSON object. A failure prints the case, made as small as it gets, and the seed that repeats it.
 */

import { glob, readFile } from 'node:fs/promises'
import { join } from 'node:path'

import fc from 'fast-check'
import Mocha from 'mocha'

const root = join(import.meta.dirname, '..')
const cases = Number((process.env['FUZZ_RUNS'] ??= '10000'))

interface Property {
  readonly property: string
  readonly cases: number
  readonly seconds: number
  readonly passed: boolean
}

const properties: Property[] = []
let running = ''
let startedMs = 0

fc.configureGlobal({
  reporter: details => {
    const seconds = Math.round(performance.now() - startedMs) / 1000
    startedMs = performance.now()
    properties.push({ property: running, cases: details.numRuns, seconds, passed: !details.failed })
    console.log(`${details.failed ? 'FAILED' : 'ok    '}  ${String(details.numRuns).padStart(6)} cases  ${seconds.toFixed(1).padStart(6)} s  ${running}`)
    if (details.failed) throw new Error(fc.defaultReportMessage(details))
  },
})

const mocha = new Mocha({
  timeout: 0,
  reporter: class extends Mocha.reporters.Base {
    constructor(runner: Mocha.Runner) {
      super(runner)
      runner.on('fail', (test, error: Error) => console.error(`\n${test.fullTitle()}\n${error.message}\n`))
    }
  },
  rootHooks: {
    beforeEach: function (this: Mocha.Context) {
      running = this.currentTest?.fullTitle() ?? ''
      startedMs = performance.now()
    },
  },
})
const [flag, text] = process.argv.slice(2)
if (flag !== undefined && (flag !== '--grep' || text === undefined)) {
  console.error('usage: npm run fuzz [-- --grep TEXT]')
  process.exit(2)
}
if (text !== undefined) mocha.grep(text)
for await (const name of glob('test/**/*.test.ts', { cwd: root })) {
  if ((await readFile(join(root, name), 'utf8')).includes('fuzzRuns')) mocha.addFile(join(root, name))
}
await mocha.loadFilesAsync()
const failures = await new Promise<number>(resolve => mocha.run(resolve))
// A property that stopped early has not been tried.
const short = properties.filter(each => each.passed && each.cases < cases).length
const passed = failures === 0 && short === 0 && properties.length > 0
console.log(JSON.stringify({ fuzz: passed ? 'passed' : 'failed', properties: properties.length, cases: properties.reduce((sum, each) => sum + each.cases, 0), failures, short, least: Math.min(...properties.map(each => each.cases)), results: properties }))
process.exit(passed ? 0 : 1)
