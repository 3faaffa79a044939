import { readFileSync } from 'node:fs'

import { expect } from 'chai'

import { SKIP_REASONS, sentence } from '../../src/inject/reasons.ts'

describe('reasons', () => {
  it('docs/inject.md says what to do for each reason to skip, and for no other', () => {
    const table = /## Why a pod is not recorded([\s\S]*?)\n## /.exec(readFileSync(new URL('../../docs/inject.md', import.meta.url), 'utf8'))?.[1] ?? ''
    const named = [...table.matchAll(/^\| (`[^|]+) \|/gm)].flatMap(([, cell = '']) => [...cell.matchAll(/`([a-z-]+)`/g)].map(([, reason]) => reason))
    expect(named.toSorted()).to.deep.equal(Object.keys(SKIP_REASONS).toSorted())
  })

  it('sentence() adds what it is about', () => {
    expect(sentence('port-clash', 'container mesh, port 15088')).to.equal('A container of the pod uses a port number that the recorder needs. (container mesh, port 15088)')
  })
})
