import { expect } from 'chai'

import { judge, killGround, killRound, leaveKillGround } from '../../../support/spool-kill-round.ts'

const ROUNDS = 15

// STENO_SEED repeats the random moments of a run that failed, as far as the machine allows.
describe('steno up, killed at random moments', () => {
  it(`has every answer in the archive that a client has received whole, after ${ROUNDS} kills`, async function () {
    this.timeout(60_000)
    const seed = Number(process.env['STENO_SEED'] ?? Date.now() % 1_000_000)
    const ground = await killGround(seed)
    try {
      for (let round = 0; round < ROUNDS; round++) await killRound(ground)
      const verdict = await judge(ground)
      expect(verdict.released).to.be.greaterThan(ROUNDS)
      expect(verdict.lost).to.deep.equal([])
      expect(verdict.undeclared).to.deep.equal([])
      expect(verdict.report.verdict).to.equal('incomplete')
      expect(verdict.report.writers.flatMap(({ writer, holes, brokenAt }) => (holes.length > 0 || brokenAt !== undefined ? [{ writer, holes, brokenAt }] : []))).to.deep.equal([])
      expect(verdict.report.findings).to.deep.equal([])
      expect(verdict.left).to.deep.equal([])
    } catch (error) {
      // Also when it was no comparison that failed.
      console.error(`      kill test: repeat with STENO_SEED=${seed}`)
      throw error
    } finally {
      await leaveKillGround(ground)
    }
  })
})
