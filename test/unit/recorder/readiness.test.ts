import { expect } from 'chai'
import { StenoError } from '../../../src/errors.ts'
import { readiness } from '../../../src/recorder/readiness.ts'

describe('readiness()', () => {
  const open = { state: 'open', error: undefined } as const
  const full = { state: 'failed', error: new StenoError('spool.full', 'no room is left') } as const

  it('is given only while serving', () => {
    for (const state of ['starting', 'draining'] as const) expect(readiness(state, { spool: open, onFailure: 'allow' })).to.deep.equal({ ready: false, reason: state })
    expect(readiness('serving', { spool: open, onFailure: 'block' })).to.deep.equal({ ready: true })
  })

  it('is refused when nothing can be recorded, unless that is allowed: then it says what it is worth', () => {
    expect(readiness('serving', { spool: full, onFailure: 'block' })).to.deep.equal({ ready: false, reason: 'no room is left' })
    expect(readiness('serving', { spool: full, onFailure: 'allow' })).to.deep.equal({ ready: true, reason: 'degraded: not recording: no room is left' })
    expect(readiness('serving', { spool: { state: 'closed', error: undefined }, onFailure: 'block' })).to.deep.equal({ ready: false, reason: 'the spool is closed' })
  })

  it('is given, and says so, while the sink accepts nothing', () => {
    const sink = { code: 'sink.missing', message: 'there is no such stream' }
    expect(readiness('serving', { spool: open, sink, onFailure: 'block' })).to.deep.equal({ ready: true, reason: 'degraded: not shipping: there is no such stream (sink.missing)' })
  })

  it('is given, and says so, when a sink that is down has filled the spool: clients get the refusal, which explains itself', () => {
    const sink = { code: 'sink.io', message: 'no usable answer' }
    expect(readiness('serving', { spool: full, sink, onFailure: 'block' })).to.deep.equal({ ready: true, reason: 'degraded: refusing calls: no room is left; not shipping: no usable answer (sink.io)' })
    const failing = { state: 'failed', error: new StenoError('spool.io', 'the disk fails') } as const
    expect(readiness('serving', { spool: failing, sink, onFailure: 'block' })).to.deep.equal({ ready: false, reason: 'the disk fails' })
  })

  it('is given, and says so, while the file of a policy cannot be gone by', () => {
    const sink = { code: 'sink.missing', message: 'there is no such stream' }
    expect(readiness('serving', { spool: open, policy: 'policy tools stays', onFailure: 'block' })).to.deep.equal({ ready: true, reason: 'degraded: policy tools stays' })
    expect(readiness('serving', { spool: open, sink, policy: 'policy tools stays', onFailure: 'block' })).to.deep.equal({ ready: true, reason: 'degraded: not shipping: there is no such stream (sink.missing); policy tools stays' })
  })
})
