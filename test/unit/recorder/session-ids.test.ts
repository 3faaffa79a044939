import { expect } from 'chai'
import fc from 'fast-check'

import type { Clock } from '../../../src/platform/clock.ts'
import { sessionKey } from '../../../src/record/session.ts'
import type { SessionFacts } from '../../../src/record/session.ts'
import type { Journal } from '../../../src/recorder/journal.ts'
import { createSessionTable } from '../../../src/recorder/sessions.ts'
import type { SessionTable } from '../../../src/recorder/sessions.ts'
import { fuzzRuns } from '../../support/fuzz-runs.ts'

/** A session table of a replica whose clock is its own. */
function replica(pod: string, atMs: number): SessionTable {
  let seq = 0
  const journal: Journal = { append: () => seq++, commit: done => done(), missed: () => {}, declareMissed: () => {}, elapsedUs: () => 0, whenRoom: then => then() }
  const clock: Clock = { now: () => atMs, monotonic: () => atMs }
  return createSessionTable({ journal, clock, server: { name: 'server', url: 'http://server', pod }, maxLive: 3 })
}

const mark = fc.oneof(fc.constantFrom('', 'a', 'b', 'a|b', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', '00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000001-00'), fc.string({ unit: 'binary', maxLength: 8 }))
const facts = fc.record({ principal: mark, mcp: mark, conversation: mark, traceparent: mark, client: mark, userAgent: mark }, { requiredKeys: ['principal'] }).map((some): SessionFacts => ({ server: 'server', peer: '10.0.0.1', ...some }))

describe('session ids', () => {
  it('are equal on every replica, whatever it has seen before, and different for different callers', () => {
    fc.assert(
      fc.property(fc.array(facts, { minLength: 1, maxLength: 8 }), fc.array(facts, { maxLength: 8 }), fc.integer({ min: 0, max: 2 ** 40 }), (seen, before, skewMs) => {
        const one = replica('pod-0', 1_700_000_000_000)
        const two = replica('pod-1', 1_700_000_000_000 + skewMs)
        const enter = (table: SessionTable, each: SessionFacts): string | undefined => {
          const key = sessionKey(each)
          if (key === undefined) return undefined
          const session = table.enter(key, { exchange: 0, principal: each.principal })
          table.leave(session)
          // By time alone nobody can know that two replicas see the same caller.
          return key.basis === 'idle' ? undefined : session.id
        }
        for (const each of before) enter(two, each)
        const ids = seen.map(each => enter(one, each))
        const others = seen.toReversed().map(each => enter(two, each)).toReversed()
        expect(others).to.deep.equal(ids)
        const inputs = seen.map(each => JSON.stringify(sessionKey(each)))
        ids.forEach((id, at) => ids.forEach((other, to) => id === undefined || other === undefined || expect(id === other).to.equal(inputs[at] === inputs[to])))
      }),
      fuzzRuns,
    )
  })
})
