import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { expect } from 'chai'

import { crcSeed, encodeHeader, encodeRecord, HEADER_BYTES } from '../../../../src/recorder/spool/log-format.ts'
import { spoolPath } from '../../../../src/recorder/spool/list-logs.ts'
import { decodeSlots, encodeSlot, openPositionFile, readPosition, SLOT_BYTES } from '../../../../src/recorder/spool/position-file.ts'
import type { Position } from '../../../../src/recorder/spool/position-file.ts'
import { frameLine } from '../../../support/build-recording.ts'

const WRITER = '01hzzzzzzzzzzzzzzzzzzzzzzz'
const OTHER = '01hyyyyyyyyyyyyyyyyyyyyyyy'

describe('position file', () => {
  let folder: string
  let places: Position[]
  const pathOf = (file: number): string => spoolPath(folder)(WRITER, file)
  const position = (): Position | undefined => readPosition(folder, WRITER, pathOf)?.position
  const write = async (...all: Position[]): Promise<void> => {
    const file = openPositionFile(folder, WRITER)
    for (const each of all) await file.write(each)
    await file.close()
  }

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'position-'))
    const log = Buffer.alloc(4096)
    encodeHeader(WRITER, 0).copy(log)
    places = []
    let at = HEADER_BYTES
    for (let seq = 0; seq < 4; seq++) {
      const start = at
      at += encodeRecord(log, at, frameLine(WRITER, seq, { kind: seq === 3 ? 'writer.stop' : 'http', reason: 'x' }), crcSeed(WRITER))
      places.push({ file: 0, start, offset: at, seq, head: String(seq).repeat(64) })
    }
    await writeFile(pathOf(0), log)
  })
  afterEach(() => rm(folder, { recursive: true, force: true }))

  it('gives back what was written last, across restarts', async () => {
    expect(position()).to.equal(undefined)
    await write(...places.slice(0, 2))
    expect(position()).to.deep.equal(places[1])
    await write(...places.slice(2))
    expect(readPosition(folder, WRITER, pathOf)).to.deep.equal({ position: places[3], kind: 'writer.stop' })
    await write({ ...(places[3] as Position), head: null })
    expect(position()).to.include({ head: null })
  })

  it('falls back to the one before, or to none, when a write of it was torn at any byte', async () => {
    const [first, second] = places as [Position, Position]
    const newer = encodeSlot(WRITER, 2, second)
    const older = encodeSlot(WRITER, 1, first)
    for (let torn = 0; torn < SLOT_BYTES; torn++) {
      const slot = Buffer.concat([newer.subarray(0, torn), encodeSlot(WRITER, 0, first).subarray(torn)])
      const found = decodeSlots(WRITER, Buffer.concat([slot, older]))
      if (slot.equals(newer)) expect(found?.position).to.deep.equal(second)
      else expect(found?.position, `torn at ${torn}`).to.deep.equal(first)
      expect(decodeSlots(WRITER, Buffer.concat([slot, Buffer.alloc(SLOT_BYTES)]))?.position.seq ?? first.seq, `torn at ${torn}`).to.equal(slot.equals(newer) ? second.seq : first.seq)
    }
    for (let length = 0; length < SLOT_BYTES; length++) expect(decodeSlots(WRITER, newer.subarray(0, length))).to.equal(undefined)
    expect(decodeSlots(OTHER, newer)).to.equal(undefined)
  })

  it('is not believed when any byte of both slots is flipped', () => {
    const slot = encodeSlot(WRITER, 1, places[0] as Position)
    for (let at = 0; at < SLOT_BYTES; at++) {
      const flipped = Buffer.from(slot)
      flipped[at] = (flipped[at] ?? 0) ^ 1
      expect(decodeSlots(WRITER, flipped), `byte ${at}`).to.equal(undefined)
    }
  })

  it('is not believed when the log does not bear it out', async () => {
    const place = places[1] as Position
    for (const wrong of [{ file: 1 }, { start: place.start + 1 }, { start: 0 }, { offset: place.offset + 1 }, { offset: 1e9, start: 1e9 - 100 }, { seq: 2 }]) {
      await write({ ...place, ...wrong })
      expect(position(), JSON.stringify(wrong)).to.equal(undefined)
    }
    await write(place)
    expect(position()).to.deep.equal(place)
    await writeFile(pathOf(0), (await readFile(pathOf(0))).subarray(0, place.offset - 1))
    expect(position()).to.equal(undefined)
    await rm(pathOf(0))
    expect(position()).to.equal(undefined)
  })

  it('is nothing when it cannot be read, and says so when it cannot be written', async () => {
    const path = join(folder, `${WRITER}.shipped`)
    const place = places[0] as Position
    for (const prepare of [() => mkdir(path), () => symlink('/dev/full', path), () => symlink(path, path)]) {
      await prepare()
      expect(position()).to.equal(undefined)
      const file = openPositionFile(folder, WRITER)
      expect(await file.write(place).then(() => 'written', () => 'refused')).to.equal('refused')
      await file.close()
      await rm(path, { recursive: true })
    }
    for (const garbage of [Buffer.alloc(0), Buffer.alloc(5000, 'x')]) {
      await writeFile(path, garbage)
      expect(position()).to.equal(undefined)
      await write(place)
      expect(position()).to.deep.equal(place)
      await rm(path)
    }
  })
})
