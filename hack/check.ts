/**
 * `npm run check`: everything that can be said about the tree without running the product.
 * Runs all steps even when one fails, shows the output of those that did, and ends with one line per step.
 */

import { spawn } from 'node:child_process'
import { join } from 'node:path'

interface Step {
  readonly name: string
  readonly command: readonly [string, ...string[]]
}

interface Result {
  readonly step: Step
  readonly passed: boolean
  readonly seconds: number
  readonly output: string
}

const root = join(import.meta.dirname, '..')

const STEPS: readonly Step[] = [
  { name: 'types', command: ['tsc', '--project', '.'] },
  { name: 'types of the pure parts, without Node', command: ['tsc', '--project', 'hack/tsconfig.pure.json'] },
  { name: 'lint, with types', command: ['oxlint', '--type-aware', '--deny-warnings'] },
  { name: 'architecture', command: ['mocha', '--no-config', '--no-package', '--reporter', 'dot', 'test/architecture.test.ts'] },
  { name: 'generated files', command: ['mocha', '--no-config', '--no-package', '--reporter', 'dot', 'test/generated.test.ts'] },
  { name: 'links and lists of the documents', command: ['mocha', '--no-config', '--no-package', '--reporter', 'dot', 'test/docs.test.ts'] },
]

async function run(step: Step): Promise<Result> {
  const [program, ...args] = step.command
  const start = performance.now()
  const output: string[] = []
  const passed = await new Promise<boolean>(resolve => {
    const child = spawn(join(root, 'node_modules/.bin', program), args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] })
    child.stdout.setEncoding('utf8').on('data', (text: string) => output.push(text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => output.push(text))
    child.on('error', error => {
      output.push(`cannot start ${program}: ${error.message}; run npm ci first\n`)
      resolve(false)
    })
    child.on('close', code => resolve(code === 0))
  })
  return { step, passed, seconds: (performance.now() - start) / 1000, output: output.join('') }
}

const results: Result[] = []
for (const step of STEPS) {
  const result = await run(step)
  results.push(result)
  if (!result.passed) console.log(`\n── ${step.name}: ${step.command.join(' ')}\n${result.output.trimEnd()}\n`)
}
for (const { step, passed, seconds } of results) console.log(`${passed ? 'ok    ' : 'FAILED'}  ${step.name} (${seconds.toFixed(1)} s)`)
const failed = results.filter(({ passed }) => !passed).length
console.log(failed === 0 ? 'check passed' : `check failed: ${failed} of ${results.length} steps`)
process.exitCode = failed === 0 ? 0 : 1
