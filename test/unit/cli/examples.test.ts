import { PassThrough, Readable } from 'node:stream'

import { expect } from 'chai'

import { examplesOf, runnable } from '../../../src/cli/examples.ts'
import { createProgram } from '../../../src/cli/program.ts'

const program = () => createProgram({ stdin: Readable.from([]), stdout: new PassThrough(), stderr: new PassThrough(), env: {}, signal: new AbortController().signal }, () => {})

/** Words as a shell takes them, up to a pipe or a redirection. */
function words(line: string): string[] {
  const all = (line.match(/'[^']*'|\S+/g) ?? []).map(word => word.replace(/^'(.*)'$/, '$1'))
  const end = all.findIndex(word => word === '|' || word === '>')
  return end < 0 ? all : all.slice(0, end)
}

describe('examples', () => {
  for (const { path } of runnable(program())) {
    it(`${path} has some, and they are right`, async () => {
      expect(examplesOf(path)).to.not.be.empty
      for (const { line } of examplesOf(path)) {
        const fresh = program()
        let ran = ''
        for (const each of runnable(fresh)) each.command.action(() => void (ran = each.path))
        await fresh.parseAsync(words(line), { from: 'user' })
        expect(ran).to.equal(path)
      }
    })
  }
})
