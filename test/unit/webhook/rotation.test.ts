import { X509Certificate } from 'node:crypto'

import { expect } from 'chai'

import { issueAuthority, issueLeaf, namesOf } from '../../../src/webhook/certificates/issue.ts'
import type { Authority } from '../../../src/webhook/certificates/issue.ts'
import { bundleOf, nextStep, TIMES } from '../../../src/webhook/certificates/rotation.ts'
import type { CertificateState, Step } from '../../../src/webhook/certificates/rotation.ts'
import { readState, withState } from '../../../src/webhook/certificates/secret.ts'

const NAMES = ['steno-injector', 'steno-injector.steno-system.svc']
const DAY_MS = 86_400_000
const START = Date.UTC(2026, 0, 1)

/** Certificates by number, without the cost of keys. */
function paper(cert: string, now: number, validForMs: number): Authority {
  return { cert, key: `key of ${cert}`, notBefore: now - 60_000, notAfter: now + validForMs }
}

describe('the rotation of certificates', () => {
  it('goes on for five years without a moment at which a served leaf is not trusted, and forgets every authority in the end', () => {
    let state: CertificateState = { old: [] }
    let bundle = ''
    let count = 0
    const taken: Step[] = []
    /** What a replica that missed everything since may still serve: each leaf until its end. */
    const served: { readonly issuer: string; readonly until: number }[] = []
    for (let now = START; now < START + 5 * 365 * DAY_MS; now += 6 * 3_600_000) {
      const step = nextStep(state, { now, inPlace: bundle === bundleOf(state), names: NAMES }, TIMES)
      const { current, next } = state
      const authority = (): Authority => paper(`ca-${count++}`, now, TIMES.authorityMs)
      const leaf = (by: Authority): CertificateState['current'] => {
        served.push({ issuer: by.cert, until: Math.min(now + TIMES.leafMs, by.notAfter) })
        return { authority: by, leaf: { ...paper(`leaf-${count++}`, now, Math.min(TIMES.leafMs, by.notAfter - now)), names: NAMES } }
      }
      if (step !== 'wait') taken.push(step)
      if (step === 'begin') state = { current: leaf(authority()) ?? never(), old: [] }
      if (step === 'announce') state = { ...state, next: { authority: authority() } }
      if (step === 'observe' && next !== undefined) state = { ...state, next: { ...next, observedAt: now } }
      if (step === 'promote' && next !== undefined && current !== undefined) state = { current: leaf(next.authority) ?? never(), old: [...state.old, { cert: current.authority.cert, until: current.leaf.notAfter }] }
      if (step === 'renew' && current !== undefined) state = { ...state, current: leaf(current.authority) ?? never() }
      if (step === 'drop') state = { ...state, old: state.old.filter(({ until }) => until > now) }
      // Written a step later, as the real one sees it.
      for (const each of served.filter(({ until }) => until > now + 12 * 3_600_000)) expect(bundleOf(state), `${each.issuer} at ${new Date(now).toISOString()}`).to.include(`${each.issuer}\n`)
      bundle = bundleOf(state)
    }
    expect(taken.filter(each => each === 'begin')).to.have.length(1)
    expect(taken.filter(each => each === 'promote').length).to.be.within(6, 8)
    expect(state.old).to.have.length.at.most(1)
  })

  it('does not sign with an authority that somebody took out of a configuration again', () => {
    const current = { authority: paper('a', START, TIMES.authorityMs), leaf: { ...paper('l', START, TIMES.leafMs), names: NAMES } }
    const state: CertificateState = { current, next: { authority: paper('b', START, TIMES.authorityMs), observedAt: START }, old: [] }
    const later = { now: START + TIMES.overlapMs, names: NAMES }
    expect(nextStep(state, { ...later, inPlace: false }, TIMES)).to.equal('unobserve')
    expect(nextStep(state, { ...later, inPlace: true }, TIMES)).to.equal('promote')
    expect(nextStep(state, { ...later, now: START + TIMES.overlapMs - 1, inPlace: true }, TIMES)).to.equal('wait')
  })

  it('makes another leaf when the names have changed, and begins anew when all has expired', () => {
    const current = { authority: paper('a', START, TIMES.authorityMs), leaf: { ...paper('l', START, TIMES.leafMs), names: NAMES } }
    expect(nextStep({ current, old: [] }, { now: START, inPlace: true, names: [...NAMES, 'other'] }, TIMES)).to.equal('renew')
    expect(nextStep({ current, old: [] }, { now: START + TIMES.authorityMs, inPlace: true, names: NAMES }, TIMES)).to.equal('begin')
  })

  it('comes back from the Secret as it was, and what cannot be read counts as absent', async () => {
    const authority = await issueAuthority(START, TIMES.authorityMs)
    const leaf = await issueLeaf(authority, [...NAMES, '10.0.0.1'], START, TIMES.leafMs)
    const next = await issueAuthority(START, TIMES.authorityMs)
    const state: CertificateState = { current: { authority, leaf }, next: { authority: next, observedAt: START }, old: [{ cert: next.cert, until: START + 1000 }] }
    const secret = withState({ apiVersion: 'v1', kind: 'Secret', metadata: { name: 's', annotations: { kept: 'yes' } } }, state)
    expect(readState(secret)).to.deep.equal(state)
    expect(secret['metadata']).to.have.nested.property('annotations.kept', 'yes')
    expect(readState({ ...secret, data: { 'tls.crt': 'bm9wZQ==', 'tls.key': '', 'ca.crt': 7, 'old-cas.json': 'e30=' } })).to.deep.equal({ old: [] })
    const parsed = new X509Certificate(leaf.cert)
    expect(parsed.verify(new X509Certificate(authority.cert).publicKey)).to.equal(true)
    expect(parsed.checkIssued(new X509Certificate(authority.cert))).to.equal(true)
    expect(namesOf(leaf.cert)).to.deep.equal([...NAMES, '10.0.0.1'])
    expect(parsed.keyUsage).to.deep.equal(['1.3.6.1.5.5.7.3.1'])
    expect(BigInt(`0x${parsed.serialNumber}`) > 0n).to.equal(true)
  })

  it('issues no leaf that outlives its authority', async () => {
    const authority = await issueAuthority(START, DAY_MS)
    expect((await issueLeaf(authority, NAMES, START, TIMES.leafMs)).notAfter).to.equal(authority.notAfter)
  })
})

function never(): never {
  throw new Error('cannot be')
}
