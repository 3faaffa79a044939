import { expect } from 'chai'

import { createBacklog } from '../../../../src/recorder/spool/backlog.ts'

describe('createBacklog()', () => {
  it('counts what is between durable and accepted, by place, whatever is said twice', () => {
    const backlog = createBacklog()
    expect([backlog.bytes, backlog.oldestMs]).to.deep.equal([0, undefined])
    backlog.add('a', { file: 0, begin: 512, end: 600, ms: 1000 })
    backlog.add('a', { file: 0, begin: 600, end: 700, ms: 1500 })
    backlog.add('a', { file: 2, begin: 512, end: 1000, ms: 2000 })
    expect([backlog.bytes, backlog.oldestMs]).to.deep.equal([676, 1000])
    for (let twice = 0; twice < 2; twice++) backlog.accepted('a', { file: 0, offset: 650 })
    expect([backlog.bytes, backlog.oldestMs]).to.deep.equal([538, 1500])
    backlog.accepted('a', { file: 0, offset: 550 })
    expect(backlog.bytes).to.equal(538)
    backlog.accepted('a', { file: 1, offset: 9999 })
    expect([backlog.bytes, backlog.oldestMs]).to.deep.equal([488, 2000])
    backlog.accepted('a', { file: 2, offset: 1000 })
    expect([backlog.bytes, backlog.oldestMs]).to.deep.equal([0, undefined])
  })

  it('keeps writers apart', () => {
    const backlog = createBacklog()
    backlog.add('old', { file: 3, begin: 512, end: 612, ms: 1 })
    backlog.add('live', { file: 0, begin: 512, end: 522, ms: 1000 })
    backlog.accepted('live', { file: 0, offset: 522 })
    expect([backlog.bytes, backlog.oldestMs]).to.deep.equal([100, 1])
    backlog.gone('old')
    backlog.gone('old')
    backlog.accepted('unknown', { file: 9, offset: 9 })
    expect([backlog.bytes, backlog.oldestMs]).to.deep.equal([0, undefined])
  })

  it('stays small and exact in bytes in an outage of days', () => {
    const backlog = createBacklog()
    for (let at = 0; at < 50_000; at++) backlog.add('a', { file: Math.floor(at / 1000), begin: 512 + (at % 1000) * 10, end: 522 + (at % 1000) * 10, ms: at * 1000 })
    expect([backlog.bytes, backlog.oldestMs]).to.deep.equal([500_000, 0])
    backlog.accepted('a', { file: 49, offset: 512 + 9_990 })
    expect(backlog.bytes).to.equal(10)
    backlog.accepted('a', { file: 49, offset: 512 + 10_000 })
    expect([backlog.bytes, backlog.oldestMs]).to.deep.equal([0, undefined])
  })
})
