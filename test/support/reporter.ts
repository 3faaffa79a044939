/**
 * Mocha's dot reporter (spec on a terminal that asks for it with STENO_TEST_REPORTER=spec), plus a file with the counts for `.ci/run`.
 * Counting reads mocha's own events; a failed hook counts as a failure, as mocha counts it.
 */

import { writeFileSync } from 'node:fs'
import Mocha from 'mocha'

const { Dot, Spec } = Mocha.reporters

/** What the file named by STENO_TEST_RESULT holds. */
export interface TestResult {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
}

class CountingReporter {
  constructor(runner: Mocha.Runner, options: Mocha.MochaOptions) {
    new (process.env['STENO_TEST_REPORTER'] === 'spec' ? Spec : Dot)(runner, options)
    const count = { passed: 0, failed: 0, skipped: 0 }
    const skipped: string[] = []
    runner.on('pass', () => count.passed++)
    runner.on('fail', () => count.failed++)
    runner.on('pending', test => {
      count.skipped++
      skipped.push(test.fullTitle())
    })
    runner.on('end', () => {
      // What was not proved is said aloud.
      for (const title of skipped) console.log(`  skipped: ${title}`)
      const file = process.env['STENO_TEST_RESULT']
      const result: TestResult = count
      if (file !== undefined && file !== '') writeFileSync(file, `${JSON.stringify(result)}\n`)
    })
  }
}

// Mocha loads a reporter with require(), which takes this name as the module.
export { CountingReporter as 'module.exports' }
