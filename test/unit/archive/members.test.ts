import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'

import { expect } from 'chai'

import type { Finding } from '../../../src/archive/archive.ts'
import { fileArchive } from '../../../src/archive/directory.ts'
import { hopMembers, readParts } from '../../../src/archive/members.ts'
import type { Part } from '../../../src/archive/members.ts'
import { frameLine, segmentMember, segmentPayload, storyLines } from '../../support/build-recording.ts'

describe('readParts()', () => {
  let folder: string
  const story = storyLines('writer-a')
  const members = [segmentMember('writer-a', story, { to: 5 }), segmentMember('writer-a', story, { from: 5 })] as const

  const partsOf = async (bytes: Uint8Array): Promise<(Part | Finding)[]> => {
    await writeFile(join(folder, 'o'), bytes)
    const reader = await (await fileArchive(join(folder, 'o'))).open('o')
    if (reader === undefined) throw new Error('not there')
    const parts: (Part | Finding)[] = []
    try {
      for await (const part of readParts('o', reader)) parts.push(part)
    } finally {
      await reader.close()
    }
    return parts
  }
  const shape = (parts: readonly (Part | Finding)[]): unknown[] => parts.map(part => (part.kind === 'part' ? [part.offset, part.end] : part.reason))

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'members-'))
  })
  afterEach(() => rm(folder, { recursive: true, force: true }))

  it('gives members of ours and of others, with names and checksums in their headers', async () => {
    const foreign = gzipSync(segmentPayload('writer-a', story))
    const named = Buffer.concat([foreign.subarray(0, 3), Buffer.from([8]), foreign.subarray(4, 10), Buffer.from('name\0'), foreign.subarray(10)])
    const bytes = Buffer.concat([members[0], named, members[1]])
    expect(shape(await partsOf(bytes))).to.deep.equal([[0, members[0].length], [members[0].length, members[0].length + named.length], [members[0].length + named.length, bytes.length]])
  })

  it('passes over noise between members, and says so', async () => {
    const noise = Buffer.from('\nnot a member\n')
    const parts = await partsOf(Buffer.concat([members[0], noise, members[1]]))
    expect(shape(parts)).to.deep.equal([[0, members[0].length], 'damaged', [members[0].length + noise.length, members[0].length + noise.length + members[1].length]])
  })

  it('tells a cut end from damage', async () => {
    expect(shape(await partsOf(Buffer.concat(members).subarray(0, -1)))).to.deep.equal([[0, members[0].length], 'cut'])
    expect(shape(await partsOf(Buffer.concat([members[0].subarray(0, -9), members[1]])))).to.deep.equal(['damaged', [members[0].length - 9, members[0].length - 9 + members[1].length]])
  })

  it('gives a large member in parts of whole lines, and nothing of one whose checksum is wrong', async () => {
    const lines = Array.from({ length: 6000 }, (_, at) => frameLine('writer-a', at, { kind: 'http', from: 'client', body: `${at} `.repeat(500) }))
    const large = gzipSync(`${lines.join('\n')}\n`, { level: 1 })
    const parts = await partsOf(Buffer.concat([large, members[0]]))
    const texts = parts.flatMap(part => (part.kind === 'part' && part.offset === 0 ? [part.bytes.toString()] : []))
    expect(texts.length).to.be.greaterThan(2)
    expect(texts.join('')).to.equal(`${lines.join('\n')}\n`)
    expect(texts.slice(0, -1).every(text => text.endsWith('\n'))).to.equal(true)
    large[large.length - 6] = (large[large.length - 6] ?? 0) ^ 1
    expect(shape(await partsOf(Buffer.concat([large, members[0]])))).to.deep.equal(['damaged', [large.length, large.length + members[0].length]])
  })

  it('refuses a bomb', async function () {
    this.timeout(60_000)
    const bomb = gzipSync(Buffer.alloc(400 * 1024 * 1024), { level: 9 })
    expect(shape(await partsOf(bomb))).to.deep.equal(['oversize'])
  })

  it('hops over members without inflating them', async () => {
    await writeFile(join(folder, 'o'), Buffer.concat([...members, Buffer.from('noise')]))
    const reader = await (await fileArchive(join(folder, 'o'))).open('o')
    if (reader === undefined) throw new Error('not there')
    const hops = []
    for await (const hop of hopMembers('o', reader)) hops.push(hop.kind === 'hop' ? [hop.offset, hop.end, hop.index.firstSeq] : hop.reason)
    await reader.close()
    expect(hops).to.deep.equal([[0, members[0].length, 0], [members[0].length, members[0].length + members[1].length, 5], 'cut'])
  })
})
