import { expect } from 'chai'

import { crash } from '../support/crash/crash.ts'

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
