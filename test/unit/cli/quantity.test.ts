import { expect } from 'chai'

import { ageText, durationText, offsetText, parseDurationMs, parseSinceMs, sizeText } from '../../../src/cli/quantity.ts'

const SECOND = 1000

describe('quantities', () => {
  it('ageText() is coarser the older, as kubectl', () => {
    const ages = [0, 119, 120, 150, 599, 600, 10_799, 10_800, 28_800, 172_799, 172_800, 691_200, 63_072_000].map(seconds => ageText(seconds * SECOND))
    expect(ages).to.deep.equal(['0s', '119s', '2m', '2m30s', '9m59s', '10m', '179m', '3h', '8h', '47h', '2d', '8d', '2y'])
  })

  it('durationText() keeps about three digits', () => {
    expect([0, 850, 1500, 12_000, 999_000, 1_240_000, 59_900_000, 270_000_000, 7_500_000_000].map(durationText)).to.deep.equal(['0µs', '850µs', '1.5ms', '12ms', '999ms', '1.24s', '59.9s', '4m30s', '2h5m'])
  })

  it('sizeText() counts in thousands', () => {
    expect([0, 999, 1000, 4096, 123_456, 999_999, 5_000_000_000].map(sizeText)).to.deep.equal(['0B', '999B', '1.0kB', '4.1kB', '123kB', '1.0MB', '5.0GB'])
  })

  it('offsetText() is a clock', () => {
    expect([0, 4_217_000, 64_200_000, 3_723_004_000].map(offsetText)).to.deep.equal(['0:00.000', '0:04.217', '1:04.200', '1:02:03.004'])
  })

  it('parseDurationMs() reads spans and clocks and nothing else', () => {
    expect(['2s', '1h30m', '250ms', '1.5m', '1:04', '1:02:03.5', '0s'].map(parseDurationMs)).to.deep.equal([2000, 5_400_000, 250, 90_000, 64_000, 3_723_500, 0])
    expect(['', '2', 's', '-1s', '1h x', '1y'].map(parseDurationMs)).to.deep.equal(Array.from({ length: 6 }, () => undefined))
  })

  it('parseSinceMs() reads a span before now, or a time', () => {
    expect(parseSinceMs('1h', 3_600_000)).to.equal(0)
    expect(parseSinceMs('1970-01-01T00:00:01Z', 0)).to.equal(1000)
    expect(parseSinceMs('1970-01-02', 0)).to.equal(86_400_000)
    expect(parseSinceMs('yesterday', 0)).to.equal(undefined)
    expect(parseSinceMs('1970-13-02', 0)).to.equal(undefined)
  })
})
