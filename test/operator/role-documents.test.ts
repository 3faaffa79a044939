/** What counts as the same policy document, and what is done about a difference. */

import { expect } from 'chai'
import fc from 'fast-check'

import { driftOf, emptying, sameDocument, wantedRoles } from '../../src/operator/role/decide.ts'
import type { FoundRole, WantedRole } from '../../src/operator/role/decide.ts'
import type { Json, JsonObject } from '../../src/policy/json.ts'
import { isObject } from '../../src/policy/json.ts'
import { BOUNDARY, settingsWithAws } from '../support/aws/installation.ts'
import { fuzzRuns } from '../support/fuzz-runs.ts'
import { digest } from '../support/golden-pods.ts'

const word = fc.constantFrom('a', 'b', 's3:GetObject', 'sts:AssumeRoleWithWebIdentity', 'system:serviceaccount:a:b', '*', '')
const words = fc.uniqueArray(word, { minLength: 1, maxLength: 4 })
const statement: fc.Arbitrary<JsonObject> = fc.record({ Effect: fc.constantFrom('Allow', 'Deny'), Action: words, Principal: fc.record({ Federated: words }), Condition: fc.record({ StringEquals: fc.dictionary(fc.constantFrom('x:aud', 'x:sub', 'y'), words, { maxKeys: 3 }) }) }) as fc.Arbitrary<JsonObject>
const document = fc.record({ Version: fc.constant('2012-10-17'), Statement: fc.array(statement, { minLength: 1, maxLength: 3 }) }) as fc.Arbitrary<JsonObject>

/** Turned round, lists of one as values, some values as lists of one. */
function otherForm(value: Json | undefined): Json {
  if (Array.isArray(value)) return value.length === 1 ? otherForm(value[0]) : value.map(otherForm).toReversed()
  return isObject(value) ? Object.fromEntries(Object.entries(value).toReversed().map(([key, each]) => [key, key === 'Effect' || key === 'Version' ? (each ?? null) : otherForm(each)])) : (value ?? null)
}

describe('sameDocument()', () => {
  it('sees no difference in form', () => {
    fc.assert(
      fc.property(document, each => {
        expect(sameDocument(each, otherForm(each) as JsonObject)).to.equal(true)
      }),
      fuzzRuns,
    )
  })

  it('sees every difference in meaning', () => {
    const harm = fc.constantFrom<(text: string) => string>(text => text.replace('Allow', 'Deny'), text => text.replace('"a"', '"evil"'), text => text.replace('StringEquals', 'StringLike'), text => text.replace('x:sub', 'z:sub'), text => text.replace('[', '[{"Effect":"Allow","Action":"*","Principal":"*"},'), text => text.replace('system:serviceaccount:a:b', 'system:serviceaccount:a:*'))
    fc.assert(
      fc.property(document, harm, (each, change) => {
        const text = JSON.stringify(each)
        const changed = change(text)
        fc.pre(changed !== text)
        expect(sameDocument(each, JSON.parse(changed) as JsonObject)).to.equal(false)
      }),
      fuzzRuns,
    )
  })
})

describe('driftOf()', () => {
  const arns = ['A', 'B', 'C', 'D'].map(name => `arn:aws:iam::aws:policy/${name}`)
  const some = fc.subarray(arns)
  const wantedWith = (policyArns: readonly string[]): WantedRole => {
    const { aws } = settingsWithAws()
    if (aws === undefined) return expect.fail('no account')
    const { roles } = wantedRoles({ aws, policy: { namespace: 'a', name: 'b', uid: 'c' }, sink: undefined, shipping: [], working: ['default'], policyArns, digest })
    return roles[0] ?? expect.fail('no role')
  }
  /** IAM, as far as one role goes. */
  const after = (found: FoundRole, steps: ReturnType<typeof driftOf>['steps']): FoundRole =>
    steps.reduce<FoundRole>((role, step) => {
      if (step.step === 'tag') return { ...role, tags: { ...role.tags, ...step.tags } }
      if (step.step === 'attach') return { ...role, attached: [...role.attached, step.policyArn] }
      if (step.step === 'detach') return { ...role, attached: role.attached.filter(arn => arn !== step.policyArn) }
      return step.step === 'trust' ? { ...role, trust: JSON.stringify(step.document) } : role
    }, found)

  it('ends where it should from any state, wherever it is cut off, takes off only what it put on, and then has nothing to do', () => {
    fc.assert(
      fc.property(some.filter(each => each.length > 0), some.filter(each => each.length > 0), some, fc.nat({ max: 8 }), (earlier, later, foreign, cut) => {
        const strange = foreign.filter(arn => !earlier.includes(arn) && !later.includes(arn))
        const bare: FoundRole = { trust: '{}', boundary: BOUNDARY, tags: {}, inlineNames: [], inline: undefined, attached: strange }
        const made = after(bare, driftOf(wantedWith(earlier), bare, BOUNDARY, digest).steps)
        const wanted = wantedWith(later)
        const half = after(made, driftOf(wanted, made, BOUNDARY, digest).steps.slice(0, cut))
        const whole = after(half, driftOf(wanted, half, BOUNDARY, digest).steps)
        expect(whole.attached.toSorted()).to.deep.equal([...later, ...strange].toSorted())
        expect(driftOf(wanted, whole, BOUNDARY, digest)).to.deep.equal({ steps: [], foreign: strange, boundaryDiffers: false })
        expect(emptying(half, digest).foreign).to.deep.equal(strange)
      }),
      fuzzRuns,
    )
  })

  const tenOf = (kind: string): readonly string[] => Array.from({ length: 10 }, (_, index) => `arn:aws:iam::aws:policy/${kind}${index}`)
  const BARE: FoundRole = { trust: '{}', boundary: BOUNDARY, tags: {}, inlineNames: [], inline: undefined, attached: [] }

  it('never attaches more than IAM takes when all policies are exchanged', () => {
    const made = after(BARE, driftOf(wantedWith(tenOf('a')), BARE, BOUNDARY, digest).steps)
    let role = made
    for (const step of driftOf(wantedWith(tenOf('b')), made, BOUNDARY, digest).steps) {
      role = after(role, [step])
      expect(role.attached).to.have.lengthOf.at.most(10)
    }
    expect(role.attached.toSorted()).to.deep.equal(tenOf('b'))
  })

  it('keeps its tag within what IAM takes, however often IAM has refused to attach', () => {
    const refused = (found: FoundRole, kind: string): FoundRole => after(found, driftOf(wantedWith(tenOf(kind)), found, BOUNDARY, digest).steps.filter(({ step }) => step === 'tag').slice(0, 1))
    const role = ['b', 'c', 'd'].reduce(refused, after(BARE, driftOf(wantedWith(tenOf('a')), BARE, BOUNDARY, digest).steps))
    expect(role.tags['steno.dev/attached']).to.have.lengthOf.at.most(256)
    expect(emptying(role, digest).foreign).to.deep.equal([])
  })
})
