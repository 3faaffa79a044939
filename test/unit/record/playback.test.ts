import { expect } from 'chai'
import fc from 'fast-check'

import { createPlayback } from '../../../src/record/playback.ts'
import { msUntil, positionAt, seek, stepSpeed, toggle, withSpeed } from '../../../src/record/playhead.ts'

const offsets = fc.array(fc.integer({ min: 0, max: 1e9 }), { maxLength: 30 }).map(list => list.sort((a, b) => a - b))

describe('createPlayback()', () => {
  it('cuts silence at marked breaks', () => {
    const playback = createPlayback([0, 1000, 9000, 9500], 2000)
    expect(playback.cues).to.deep.equal([
      { index: 0, recordedUs: 0, playUs: 0 },
      { index: 1, recordedUs: 1000, playUs: 1000 },
      { index: 2, recordedUs: 9000, playUs: 3000, skippedUs: 6000 },
      { index: 3, recordedUs: 9500, playUs: 3500 },
    ])
    expect(playback).to.include({ durationUs: 3500, recordedUs: 9500 })
    expect(playback.toPlay(5000)).to.equal(2000)
    expect(playback.toRecorded(2000)).to.equal(5000)
  })

  it('is recorded time itself when nothing is cut', () => {
    const playback = createPlayback([5, 10, 4_000_000])
    expect([0, 7, 10, 1_000_000].map(playback.toPlay)).to.deep.equal([0, 7, 10, 1_000_000])
  })

  it('is exact at every frame, and never runs backwards', () => {
    fc.assert(
      fc.property(offsets, fc.integer({ min: 1, max: 1e6 }), fc.integer({ min: 0, max: 1e9 }), (list, maxIdleUs, anywhere) => {
        const playback = createPlayback(list, maxIdleUs)
        for (const cue of playback.cues) {
          expect(playback.toPlay(cue.recordedUs)).to.equal(cue.playUs)
          expect(list[playback.indexAt(cue.playUs)]).to.equal(cue.recordedUs)
        }
        expect(playback.toPlay(anywhere + 1)).to.be.at.least(playback.toPlay(anywhere))
      }),
    )
  })

  it('takes frames that step back in time with the one before them', () => {
    expect(createPlayback([10, 5, 20]).cues.map(cue => cue.recordedUs)).to.deep.equal([10, 10, 20])
  })

  it('is at rest without frames', () => {
    const playback = createPlayback([])
    expect([playback.durationUs, playback.toPlay(5), playback.toRecorded(5), playback.indexAt(0)]).to.deep.equal([0, 0, 0, -1])
  })
})

describe('playhead', () => {
  const head = { playing: true, speed: 2, positionUs: 1000, atMs: 100, durationUs: 50_000 }

  it('runs at its speed and stops at the end', () => {
    expect([100, 110, 1000].map(now => positionAt(head, now))).to.deep.equal([1000, 21_000, 50_000])
    expect(msUntil(head, 21_000, 100)).to.equal(10)
  })

  it('keeps its place when it is paused or its speed changes', () => {
    const paused = toggle(head, 110)
    expect([paused.playing, positionAt(paused, 900), msUntil(paused, 30_000, 900)]).to.deep.equal([false, 21_000, Number.POSITIVE_INFINITY])
    expect(positionAt(withSpeed(head, 16, 110), 110)).to.equal(21_000)
    expect(withSpeed(head, 99, 110).speed).to.equal(16)
  })

  it('seeks exactly, within the recording, and leaves play or pause as it was', () => {
    expect(seek(head, 30_000, 500)).to.deep.equal({ ...head, positionUs: 30_000, atMs: 500 })
    expect(seek(toggle(head, 100), -5, 500)).to.include({ positionUs: 0, playing: false })
    expect(seek(head, 1e9, 500).positionUs).to.equal(50_000)
  })

  it('steps through the usual speeds', () => {
    expect([stepSpeed(1, 1), stepSpeed(1, -1), stepSpeed(3, 1), stepSpeed(16, 1), stepSpeed(0.25, -1)]).to.deep.equal([2, 0.5, 4, 16, 0.25])
  })
})
