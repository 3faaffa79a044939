import { expect } from 'chai'

import { crash } from '../support/crash/crash.ts'

const ROUNDS = 50

// STENO_SEED repeats the random moments of a run that failed, as far as the machine allows. `npm run crash -- --rounds N` runs more.
describe('steno up, killed at random moments', () => {
  it(`has everything in the archive that clients have received and the server has seen, and says what is missing, after ${ROUNDS} kills`, async function () {
    this.timeout(240_000)
    const seed = Number(process.env['STENO_SEED'] ?? Date.now() % 1_000_000)
    const said: string[] = []
    try {
      const result = await crash({ rounds: ROUNDS, seed, onProgress: line => said.push(line) })
      expect(result).to.deep.include({ rounds: ROUNDS, problems: [], lost: 0, undeclared: 0, brokenVerdicts: 0 })
      expect(result.answersReceived).to.be.greaterThan(ROUNDS)
      expect(result.requestsServed).to.be.greaterThan(ROUNDS)
    } catch (error) {
      // Also when it was no comparison that failed.
      console.error(`${said.join('\n')}\n      repeat with STENO_SEED=${seed}`)
      throw error
    }
  })
})
