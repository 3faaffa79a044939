import { fileURLToPath } from 'node:url'

import { expect } from 'chai'

import { steno } from '../../support/cli.ts'

const path = (name: string): string => fileURLToPath(new URL(`../../recordings/${name}`, import.meta.url))

describe('steno verify on recordings that are kept', () => {
  const verdicts: readonly (readonly [name: string, code: number, says: RegExp])[] = [
    ['duplicated.jsonl.gz', 0, /^consistent: Unbroken from frame 0 /],
    ['cut-tail.jsonl.gz', 1, /^incomplete so far: Whole up to \d+; then \d+ frames are missing/],
    ['edited.jsonl.gz', 1, /^broken at writer-a\.\d+: /],
    ['reordered.jsonl.gz', 1, /^broken at writer-a\.\d+: /],
  ]
  for (const [name, code, says] of verdicts) {
    it(`says what ${name} proves`, async () => {
      const result = await steno(['verify', '-f', path(name)])
      expect(result.out).to.match(says)
      expect(result.code).to.equal(code)
    })
  }

  it('refuses a newer format with advice', async () => {
    const result = await steno(['list', '-f', path('from-the-future.jsonl.gz')])
    expect(result).to.include({ code: 1, out: '' })
    expect(result.err).to.match(/read it with a newer steno \(recording.version\)\n$/)
  })

  it('shows what a cut file still holds, and says on stderr that it is cut', async () => {
    const result = await steno(['show', '-f', path('cut-tail.jsonl.gz'), '-o', 'name'])
    expect(result.code).to.equal(0)
    expect(result.out).to.contain('writer-a.')
    expect(result.err).to.contain('not everything could be read')
  })
})
