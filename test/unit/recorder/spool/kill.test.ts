import { expect } from 'chai'

import { judge, killGround, killRound, leaveKillGround } from '../../../support/spool-kill-round.ts'

const ROUNDS = 15

describe('steno up, killed at random moments', () => {
  it(`has every answer in the archive that a client has received whole, after ${ROUNDS} kills`, async function () {
    this.timeout(60_000)
    const seed = Date.now() % 1_000_000
    const ground = await killGround(seed)
    try {
      for (let round = 0; round < ROUNDS; round++) await killRound(ground)
      const verdict = await judge(ground)
      const context = `seed ${seed}`
      expect(verdict.released, context).to.be.greaterThan(ROUNDS)
      expect(verdict.lost, context).to.deep.equal([])
      expect(verdict.undeclared, context).to.deep.equal([])
      expect(verdict.report.verdict, context).to.equal('incomplete')
      expect(verdict.report.writers.flatMap(({ writer, holes, brokenAt }) => (holes.length > 0 || brokenAt !== undefined ? [{ writer, holes, brokenAt }] : [])), context).to.deep.equal([])
      expect(verdict.report.findings, context).to.deep.equal([])
      expect(verdict.left, context).to.deep.equal([])
    } finally {
      await leaveKillGround(ground)
    }
  })
})
