import { expect } from 'chai'

import { decide } from '../../src/inject/decide.ts'
import { SKIP_REASONS } from '../../src/inject/reasons.ts'
import { applyPatch } from '../support/apply-patch.ts'
import { expectGolden } from '../support/golden.ts'
import { podCases, withExpectation } from '../support/golden-pods.ts'

describe('decide(), on golden pods', () => {
  const cases = podCases()

  it('has pods enough', () => {
    expect(cases).to.have.length.of.at.least(60)
  })

  for (const each of cases) {
    it(`${each.name}: gives what the file expects, its patch makes the pod, and a second run changes nothing`, () => {
      expectGolden(`pods/${each.name}.yaml`, withExpectation(each))
      const first = decide(each.input)
      const patched = applyPatch(each.input.pod, first.patch)
      expect(patched).to.deep.equal(first.pod)
      const second = decide({ ...each.input, pod: first.pod })
      expect(second.patch).to.deep.equal([])
      expect(second.decision).to.equal(first.decision)
      expect(second.reason).to.equal(first.decision === 'inject' ? 'unchanged' : first.reason)
    })
  }

  it('every reason to skip has a pod', () => {
    expect(new Set(cases.map(({ input }) => decide(input).reason))).to.include.members(Object.keys(SKIP_REASONS))
  })
})
