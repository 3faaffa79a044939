import { expect } from 'chai'
import { StenoError } from '../../../src/errors.ts'
import { readiness } from '../../../src/recorder/readiness.ts'

describe('readiness()', () => {
  const open = { state: 'open', error: undefined } as const
  const full = { state: 'failed', error: new StenoError('spool.full', 'no room is left') } as const

  it('is given only while serving', () => {
    for (const state of ['starting', 'draining'] as const) expect(readiness(state, open, 'allow')).to.deep.equal({ ready: false, reason: state })
    expect(readiness('serving', open, 'block')).to.deep.equal({ ready: true })
  })

  it('is refused when nothing can be recorded, unless that is allowed: then it says what it is worth', () => {
    expect(readiness('serving', full, 'block')).to.deep.equal({ ready: false, reason: 'no room is left' })
    expect(readiness('serving', full, 'allow')).to.deep.equal({ ready: true, reason: 'degraded: not recording: no room is left' })
    expect(readiness('serving', { state: 'closed', error: undefined }, 'block')).to.deep.equal({ ready: false, reason: 'the spool is closed' })
  })
})
