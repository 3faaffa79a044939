import { expect } from 'chai'

import type { Row } from '../../../src/record/row.ts'
import { percentile, toolStats } from '../../../src/record/stats.ts'

const frame = { writer: 'w', seq: 0, time: '', elapsedUs: 0, salt: '', kind: 'writer.stop', reason: '' } as const
const base: Row = { frame, offsetUs: 0, kind: 'REQ', isError: false, parts: 1, quiet: false, found: new Set() }
const call = (tool: string, fields: Partial<Row> = {}): Row => ({ ...base, type: 'request', tool, ...fields })
const answer = (tool: string, latencyUs: number, isError = false): Row => ({ ...base, type: 'response', tool, latencyUs, isError })

describe('toolStats()', () => {
  it('counts calls, errors and missing answers, most called first', () => {
    const stats = toolStats([call('b'), answer('b', 5, true), call('a'), answer('a', 1), call('a', { pending: true }), base])
    expect(stats).to.deep.equal([
      { tool: 'a', calls: 2, errors: 0, pending: 1, p50Us: 1, p95Us: 1, maxUs: 1 },
      { tool: 'b', calls: 1, errors: 1, pending: 0, p50Us: 5, p95Us: 5, maxUs: 5 },
    ])
  })

  it('leaves latencies out where nothing was answered', () => {
    expect(toolStats([call('a', { pending: true })])).to.deep.equal([{ tool: 'a', calls: 1, errors: 0, pending: 1 }])
  })

  it('gives percentiles that were really measured', () => {
    const hundred = Array.from({ length: 100 }, (_, i) => i + 1)
    expect([50, 95, 100].map(percent => percentile(hundred, percent))).to.deep.equal([50, 95, 100])
    expect(percentile([7, 9], 50)).to.equal(7)
  })
})
