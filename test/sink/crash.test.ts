import { expect } from 'chai'

import { crash } from '../support/crash/crash.ts'
import { loseNodes } from '../support/crash/lost-nodes.ts'

// STENO_SEED repeats the random moments of a run that failed, as far as the machine allows. `npm run crash -- --sink firehose --rounds N` runs more.
for (const { what, rounds, loseNode } of [
  { what: 'killed at random moments', rounds: 20, loseNode: false },
  { what: 'with durability off-pod, on nodes that are lost with their spools', rounds: 10, loseNode: true },
]) {
  describe(`steno up --sink firehose, ${what}, before a Firehose that fails often`, () => {
    it(`has everything delivered that clients have received and the server has seen, after ${rounds} ends`, async function () {
      this.timeout(400_000)
      const seed = Number(process.env['STENO_SEED'] ?? Date.now() % 1_000_000)
      const said: string[] = []
      try {
        const result = await crash({ rounds, seed, sink: 'firehose', loseNode, onProgress: line => said.push(line) })
        expect(result).to.deep.include({ rounds, problems: [], lost: 0, undeclared: 0, brokenVerdicts: 0 })
        expect(result.answersReceived).to.be.greaterThan(rounds)
      } catch (error) {
        // Also when it was no comparison that failed.
        console.error(`${said.join('\n')}\n      repeat with STENO_SEED=${seed}`)
        throw error
      }
    })
  })
}

describe('steno up --sink firehose, with durability local, on nodes that are lost with their spools', () => {
  it('leaves recordings that are right as far as they go, and that readers show as cut', async function () {
    this.timeout(200_000)
    const seed = Number(process.env['STENO_SEED'] ?? Date.now() % 1_000_000)
    const said: string[] = []
    try {
      // How old what is lost may be is for `npm run crash -- --sink firehose --lose-node --durability local`: a busy machine would decide it here.
      const result = await loseNodes({ rounds: 6, seed, lingerSeconds: 0.3, onProgress: line => said.push(line) })
      expect(result).to.deep.include({ rounds: 6, problems: [] })
      expect(result.requestsServed).to.be.greaterThan(0)
    } catch (error) {
      console.error(`${said.join('\n')}\n      repeat with STENO_SEED=${seed}`)
      throw error
    }
  })
})
